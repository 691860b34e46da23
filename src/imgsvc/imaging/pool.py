"""The processes that work on pictures: one task each at a time, replaced when lost.

A single pool of several processes would not do: one killed process breaks the whole
ProcessPoolExecutor and fails every task in it. So each process has an executor of its
own, is lent to one task, and has a keeper: a task of the event loop that waits for its
end, whatever the reason, and starts the next one.
"""

import asyncio
import math
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager, contextmanager
from ctypes import c_bool
from functools import partial
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import ParamSpec, TypeVar

import structlog

from imgsvc.errors import ImageProcessDied, ImageTooComplex, ImgsvcError
from imgsvc.imaging import child
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.lines import Lines, Waiting, gives_way

P = ParamSpec("P")
T = TypeVar("T")

_RESTART_DELAY = 1.0
"""Seconds before the next try when a process could not be started."""

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["imgsvc.imaging.fork_server"])

_log = structlog.get_logger(__name__)


class _NotTaken(Exception):
    """The process died before it began the task."""


class _Child:
    """A running image process."""

    def __init__(
        self,
        executor: ProcessPoolExecutor,
        process: BaseProcess,
        taken: c_bool,
        reaped: asyncio.Event,
    ) -> None:
        self.process = process
        self.lost = asyncio.Event()  # it has ended or is about to: takes no more tasks
        self._executor = executor
        self._taken = taken  # shared with the process: it has begun the task
        self._reaped = reaped  # set by the keeper: the exit code is known

    async def run(self, task: Callable[[], T], timeout: float, cpu_seconds: int) -> T:  # noqa: ASYNC109 - an overrun ends the process too
        """Return what task returns; raises what ImagePool.run raises, or _NotTaken."""
        self._taken.value = False
        try:
            future = self._executor.submit(child.run_task, task, cpu_seconds)
        except BrokenProcessPool as exc:
            self.kill()  # it is dead already, but the event loop has not heard of it yet
            raise _NotTaken from exc
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise ImageTooComplex from None
        except BrokenProcessPool as exc:
            self.kill()
            await self._reaped.wait()
            raise self._cause_of_death() from exc
        except ImgsvcError as exc:
            exc.__cause__ = None  # the child's traceback: tells nothing about a bad picture
            raise
        finally:
            if not future.done():  # overrun or cancelled: the work must stop
                self.kill()

    def kill(self) -> None:
        """End the process, whatever it does; its keeper starts another one."""
        if not self.lost.is_set():  # else its number may be that of another process by now
            self.process.kill()
            self.lost.set()

    def _cause_of_death(self) -> Exception:
        if not self._taken.value:
            return _NotTaken()
        if self.process.exitcode == -signal.SIGXCPU:
            return ImageTooComplex()
        return ImageProcessDied()


class ImagePool:
    """Runs functions of this package in image processes; made by open_image_pool."""

    def __init__(self, config: ImagesConfig, cpu_seconds: float = math.inf) -> None:
        self._timeout = config.task_timeout
        self._cpu_seconds = math.ceil(min(config.task_timeout, cpu_seconds))
        self._limits = child.ChildLimits(
            max_memory_bytes=config.max_memory_bytes,
            max_pixels=config.max_pixels,
            heic=ImageFormat.HEIC in config.allowed,
        )
        self._idle: deque[_Child] = deque()
        self._lines = Lines()

    async def run(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return func(*args, **kwargs), called in an image process as soon as one is idle.

        Tasks wait in the order of `Lines`.
        func is a module-level function; arguments and result must pickle. If the await
        is cancelled, the process is killed, so the work stops too. Raises what func
        raises, ImageTooComplex if it takes more time or memory than allowed, and
        ImageProcessDied if its process is lost.
        """
        task = partial(func, *args, **kwargs)
        while True:
            lent = await self._next_idle()
            try:
                return await lent.run(task, self._timeout, self._cpu_seconds)
            except _NotTaken:
                continue
            finally:
                if not lent.lost.is_set():
                    self._give_back(lent)

    async def _next_idle(self) -> _Child:
        one = Waiting(gives_way=gives_way.get())
        self._lines.join(one)
        try:
            while True:
                if self._lines.next is one and self._has_idle():
                    self._lines.go(one)
                    return self._idle.popleft()
                one.look.clear()
                await one.look.wait()
        finally:
            self._lines.leave(one)
            self._wake_next()

    def _has_idle(self) -> bool:
        while self._idle and self._idle[0].lost.is_set():
            self._idle.popleft()
        return bool(self._idle)

    def _give_back(self, idle: _Child) -> None:
        self._idle.append(idle)
        self._wake_next()

    def _wake_next(self) -> None:
        if self._idle and (one := self._lines.next) is not None:
            one.look.set()

    async def keep_one(self, ready: asyncio.Future[None]) -> None:
        """Keep one process running, for ever; ready tells how its first start went."""
        while True:
            try:
                async with self._launch() as started:
                    self._give_back(started)
                    if not ready.done():
                        ready.set_result(None)
                    await started.lost.wait()
                _log.warning("image_process_replaced", exit_code=started.process.exitcode)
            except Exception as exc:  # noqa: BLE001 - see below
                if not ready.done():
                    ready.set_exception(exc)
                    return
                # Whatever is in the way, no memory say: the pool must get its size back.
                _log.exception("image_process_start_failed")
                await asyncio.sleep(_RESTART_DELAY)

    @asynccontextmanager
    async def _launch(self) -> AsyncIterator[_Child]:
        """Yield a process that is up and warm; in the end it is killed and reaped."""
        taken = _FORKING.RawValue(c_bool, False)  # noqa: FBT003 - the signature is ctypes'
        executor = ProcessPoolExecutor(
            max_workers=1,
            mp_context=_FORKING,
            initializer=child.start,
            initargs=(self._limits, taken),
        )
        reaped = asyncio.Event()
        try:
            started = _Child(executor, await self._start(executor), taken, reaped)
            with _noticing_its_end(started):
                yield started
        finally:
            await asyncio.to_thread(executor.shutdown)
            reaped.set()

    async def _start(self, executor: ProcessPoolExecutor) -> BaseProcess:
        """Start the process of executor and return it when it is warm."""
        # What processes are forked from dies with the thread that started it: with this one,
        # and not with one that comes and goes.
        forkserver.ensure_running()
        warm = await asyncio.to_thread(executor.submit, os.getpid)  # the first task starts it
        pid = await asyncio.wrap_future(warm)
        # The child alone shall hold this end of its pipe: otherwise the executor's thread
        # would wait for ever for the rest of a result whose sender was killed half way.
        executor._result_queue._writer.close()  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
        for process in multiprocessing.active_children():
            if process.pid == pid:
                return process
        raise BrokenProcessPool("the process ended as soon as it had started")


@contextmanager
def _noticing_its_end(started: _Child) -> Iterator[None]:
    """Mark the child as lost as soon as its process ends, and kill it in the end."""
    loop = asyncio.get_running_loop()
    sentinel = started.process.sentinel

    def note_end() -> None:
        loop.remove_reader(sentinel)
        started.lost.set()

    loop.add_reader(sentinel, note_end)
    try:
        yield
    finally:
        loop.remove_reader(sentinel)
        started.kill()


@asynccontextmanager
async def open_image_pool(
    config: ImagesConfig, *, processes: int | None = None, cpu_seconds: float = math.inf
) -> AsyncIterator[ImagePool]:
    """Yield a pool whose processes are up and warm; at the end none is left.

    processes overrides config.processes: a second pool of one process keeps quick looks
    at headers from waiting behind long edits. cpu_seconds limits a task further than
    config.task_timeout does, but on a busy machine a task may wait. Raises ImageProcessDied
    if a process does not start. Tasks still running at the end raise ImageProcessDied.
    """
    loop = asyncio.get_running_loop()
    pool = ImagePool(config, cpu_seconds)
    starts = [loop.create_future() for _ in range(processes or config.processes)]
    keepers = [
        asyncio.create_task(pool.keep_one(start), name=f"image-process-{number}")
        for number, start in enumerate(starts)
    ]
    try:
        await _all_started(starts)
        yield pool
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _all_started(starts: list[asyncio.Future[None]]) -> None:
    try:
        await asyncio.gather(*starts)
    except Exception as exc:
        raise ImageProcessDied(
            "An image process did not start. The operator has to check images.max_memory_bytes"
            " and the system's limits of processes and open files."
        ) from exc
