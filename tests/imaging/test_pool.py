import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from imgsvc.errors import ImageError, ImageProcessDied, ImageTooComplex
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.lines import gives_way
from imgsvc.imaging.pool import ImagePool, open_image_pool
from standins import image_tasks
from standins.processes import children_of_this_process, is_alive, parent_of

CONFIG = ImagesConfig(processes=2, max_memory_bytes=1024**3, max_pixels=123)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pool() -> AsyncIterator[ImagePool]:
    """Yield a pool for tests that leave its processes alone."""
    async with open_image_pool(CONFIG) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="module")
async def pool() -> AsyncIterator[ImagePool]:
    async with open_image_pool(CONFIG) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="module")
async def impatient_pool() -> AsyncIterator[ImagePool]:
    async with open_image_pool(CONFIG.model_copy(update={"task_timeout": 1.0})) as pool:
        yield pool


async def pids_of(pool: ImagePool) -> set[int]:
    """Return the process ids of both children, which must be able to work side by side."""
    while True:
        pids = set(await asyncio.gather(pool.run(os.getpid), pool.run(os.getpid)))
        if len(pids) == 2:  # while one is being replaced, the other does both tasks
            return pids


async def until_gone(*pids: int) -> None:
    while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 - not our children to wait for
        await asyncio.sleep(0.01)


async def until_exists(path: Path) -> None:
    while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240, PTH110 - another process makes it
        await asyncio.sleep(0.01)


def all_errors(root: type[ImageError]) -> list[type[ImageError]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


async def test_a_function_runs_in_another_process(pool: ImagePool) -> None:
    pid = await pool.run(os.getpid)
    assert pid != os.getpid()
    assert pid in children_of_this_process()


@pytest.mark.parametrize("error", all_errors(ImageError))
@pytest.mark.parametrize("message", [None, "Its own words."])
async def test_every_image_error_crosses_as_what_it_is(
    error: type[ImageError], message: str | None, shared_pool: ImagePool
) -> None:
    with pytest.raises(error) as caught:
        await shared_pool.run(image_tasks.raise_error, error, message)
    assert type(caught.value) is error
    assert caught.value.message == error(message).message
    assert caught.value.__cause__ is None


async def test_a_killed_process_fails_its_own_task_alone(pool: ImagePool) -> None:
    killed = pool.run(signal.raise_signal, signal.SIGKILL)
    others = [pool.run(abs, -number) for number in range(20)]
    first, *rest = await asyncio.gather(killed, *others, return_exceptions=True)
    assert isinstance(first, ImageProcessDied)
    assert rest == list(range(20))
    assert len(await pids_of(pool)) == 2


async def test_a_task_that_hangs_is_killed_while_others_succeed(
    impatient_pool: ImagePool, tmp_path: Path
) -> None:
    before = await pids_of(impatient_pool)
    hung = impatient_pool.run(image_tasks.spin, tmp_path / "started")
    others = [impatient_pool.run(abs, -number) for number in range(20)]
    first, *rest = await asyncio.gather(hung, *others, return_exceptions=True)
    assert isinstance(first, ImageTooComplex)
    assert rest == list(range(20))
    assert len(before & await pids_of(impatient_pool)) == 1


async def test_a_task_that_eats_memory_fails_while_others_succeed(pool: ImagePool) -> None:
    hungry = pool.run(image_tasks.eat_memory)
    others = [pool.run(abs, -number) for number in range(20)]
    first, *rest = await asyncio.gather(hungry, *others, return_exceptions=True)
    assert isinstance(first, ImageTooComplex)
    assert rest == list(range(20))
    assert len(await pids_of(pool)) == 2


async def test_a_task_that_uses_up_its_cpu_time_is_too_complex(pool: ImagePool) -> None:
    with pytest.raises(ImageTooComplex):
        await pool.run(signal.raise_signal, signal.SIGXCPU)


@pytest.mark.slow
async def test_a_pool_can_give_a_task_less_cpu_time_than_time(tmp_path: Path) -> None:
    async with open_image_pool(CONFIG, cpu_seconds=1) as pool:
        with pytest.raises(ImageTooComplex):
            await pool.run(image_tasks.spin, tmp_path / "started")


async def test_a_cancelled_task_stops_working(pool: ImagePool, tmp_path: Path) -> None:
    before = await pids_of(pool)
    task = asyncio.create_task(pool.run(image_tasks.spin, tmp_path / "started"))
    await until_exists(tmp_path / "started")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after = await pids_of(pool)
    (stopped,) = before - after
    await until_gone(stopped)


async def test_processes_killed_while_idle_do_not_fail_the_next_tasks(pool: ImagePool) -> None:
    before = await pids_of(pool)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert not before & await pids_of(pool)


async def test_who_gives_way_waits_for_those_who_came_later(
    pool: ImagePool, tmp_path: Path
) -> None:
    order: list[str] = []

    async def do(name: str) -> None:
        gives_way.set(name.startswith("b"))
        await pool.run(image_tasks.niceness)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        first, second = (tmp_path / name for name in "12")
        for path in (first, second):  # nobody else is served until both are there
            group.create_task(pool.run(image_tasks.wait_for, path))
        await asyncio.sleep(0)
        for name in ("b1", "b2", "s1", "s2", "s3", "s4"):
            group.create_task(do(name))
        await asyncio.sleep(0)
        await asyncio.to_thread(first.touch)  # the second process is not for them
        while len(order) < 6:  # noqa: ASYNC110 - each of them is a task of the pool
            await asyncio.sleep(0.01)
        await asyncio.to_thread(second.touch)
    assert order == ["s1", "s2", "s3", "b1", "s4", "b2"]


async def test_a_result_that_cannot_be_read_costs_one_process(pool: ImagePool) -> None:
    with pytest.raises(ImageProcessDied):
        await pool.run(image_tasks.unreadable_result)
    assert len(await pids_of(pool)) == 2


async def test_a_process_that_dies_while_it_sends_its_result_is_replaced(pool: ImagePool) -> None:
    with pytest.raises(ImageProcessDied):
        await pool.run(image_tasks.die_while_sending)
    assert len(await pids_of(pool)) == 2


async def test_an_argument_that_cannot_be_sent_costs_nothing(pool: ImagePool) -> None:
    before = await pids_of(pool)
    # Python 3.11 says "can't pickle", later versions name the object that they cannot get.
    with pytest.raises(AttributeError, match="local object"):
        await pool.run(lambda: None)
    assert await pids_of(pool) == before


async def test_the_event_loop_goes_on_while_processes_work_and_are_replaced(
    pool: ImagePool, tmp_path: Path
) -> None:
    ticks = asyncio.Semaphore(0)

    async def tick() -> None:
        while True:
            await asyncio.sleep(0)
            ticks.release()

    ticking = asyncio.create_task(tick())
    tasks = [
        pool.run(signal.raise_signal, signal.SIGKILL),
        pool.run(image_tasks.wait_for, tmp_path / "go"),
    ]
    together = asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(1000):
        await ticks.acquire()
    assert not together.done()
    (tmp_path / "go").touch()
    died, waited = await together
    ticking.cancel()
    assert isinstance(died, ImageProcessDied)
    assert waited is None


async def test_no_process_is_left_after_the_pool_is_closed(tmp_path: Path) -> None:
    before = children_of_this_process()
    async with open_image_pool(CONFIG) as pool:
        pids = children_of_this_process() - before
        busy = asyncio.create_task(pool.run(image_tasks.spin, tmp_path / "started"))
        await until_exists(tmp_path / "started")
    assert len(pids) == 2
    assert not pids & children_of_this_process()
    with pytest.raises(ImageProcessDied):
        await busy


async def test_no_process_is_left_when_the_block_fails() -> None:
    before = children_of_this_process()
    with pytest.raises(KeyError):
        async with open_image_pool(CONFIG):
            raise KeyError
    assert children_of_this_process() == before


async def test_processes_die_with_a_server_that_is_killed() -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "standins.image_pool_owner",
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert owner.stdout is not None
    pids = [int(word) for word in (await owner.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(is_alive(pid) for pid in pids)
    owner.kill()
    await owner.communicate()
    await until_gone(*pids)


@pytest.fixture
def no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("no_more_files")
async def test_a_process_that_cannot_start_fails_the_opening() -> None:
    with pytest.raises(ImageProcessDied, match="did not start"):
        async with open_image_pool(CONFIG):
            pass


async def test_no_process_heeds_what_is_sent_to_the_whole_group(pool: ImagePool) -> None:
    before = await pids_of(pool)
    for pid in {*before, *map(parent_of, before)}:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
    assert await pids_of(pool) == before


async def test_the_loss_of_what_processes_are_forked_from_is_made_good(pool: ImagePool) -> None:
    before = await pids_of(pool)
    (forked_from,) = set(map(parent_of, before))
    os.kill(forked_from, signal.SIGKILL)
    await until_gone(*before)
    after = await pids_of(pool)
    assert not before & after
    assert forked_from not in set(map(parent_of, after))


async def test_a_process_holds_nothing_of_the_server(shared_pool: ImagePool) -> None:
    modules = await shared_pool.run(image_tasks.modules)
    assert not modules & {"aiohttp", "pydantic", "structlog", "sqlite3", "imgsvc.config"}


async def test_a_process_has_its_limits(shared_pool: ImagePool) -> None:
    limits = await shared_pool.run(image_tasks.limits)
    assert limits["memory"] == (CONFIG.max_memory_bytes, CONFIG.max_memory_bytes)
    assert CONFIG.task_timeout < limits["cpu"][0] < 2 * CONFIG.task_timeout
    assert limits["core"] == (0, 0)
    assert await shared_pool.run(image_tasks.pixel_limit) == CONFIG.max_pixels
    assert await shared_pool.run(image_tasks.niceness) > os.nice(0)


async def test_nothing_that_a_process_prints_is_seen(
    shared_pool: ImagePool, capfd: pytest.CaptureFixture[str]
) -> None:
    await shared_pool.run(image_tasks.scribble)
    assert capfd.readouterr() == ("", "")
