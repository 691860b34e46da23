"""Many receivers that never finish their answers, and some that do."""

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgsvc.callbacks import CallbacksConfig, CallbackSender, EgressPolicy, open_session
from imgsvc.jobs import BlobFolder, CallbackDeliverer, JobBackend, RunLimits, open_blobs
from imgsvc.jobs.backend import Frozen
from imgsvc.jobs.models import BatchSpec, JobState, NewJob, Outcome
from imgsvc.jobs.sqlite import SqliteConfig
from standins.receiver import Receiver

DRIPPING = 500
HEALTHY = 20
DRIP = 0.5  # seconds between two bytes of a header


@dataclass(slots=True)
class DrippingReceiver:
    """Answers on every address of loopback with a header that never ends."""

    port: int = 0
    open: Counter[str] = field(default_factory=Counter)  # connections at the moment
    most: Counter[str] = field(default_factory=Counter)  # of them, ever at once
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until_open(self, connections: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.open.total() == connections)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = writer.get_extra_info("sockname")[0]
        await reader.readuntil(b"\r\n\r\n")
        self.open[host] += 1
        self.most[host] = max(self.most[host], self.open[host])
        async with self.changed:
            self.changed.notify_all()
        writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        try:
            while not writer.is_closing():
                writer.write(b".")
                await asyncio.sleep(DRIP)
        finally:
            self.open[host] -= 1
            writer.close()
            async with self.changed:
                self.changed.notify_all()


@pytest.fixture
async def dripping() -> AsyncIterator[DrippingReceiver]:
    receiver = DrippingReceiver()
    server = await asyncio.start_server(receiver.handle, "0.0.0.0", 0, backlog=DRIPPING)  # noqa: S104 - all of 127.0.0.0/8 at one port
    async with server:
        receiver.port = server.sockets[0].getsockname()[1]
        yield receiver
        await receiver.until_open(0)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow as many open files as the server allows itself."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """A record of ended jobs whose callbacks are on their way."""

    backend: JobBackend
    blobs: BlobFolder

    async def add(self, url: str) -> None:
        """Let a job end that calls this URL back."""
        spec = BatchSpec(prompt="x", input_prefix="i/", output_prefix="o/", concurrency=1)
        new = NewJob(spec=spec, request_id="r", callback_url=url)
        job_id = (await self.backend.accept(new)).job.id
        assert await self.backend.start(job_id)
        body = await self.blobs.put([b"{}"], content_type="application/json")
        frozen = Frozen(body=body, due_at=datetime.now(UTC))
        await self.backend.finish(job_id, 1, Outcome(state=JobState.FAILED), frozen)


@pytest.fixture
def config() -> CallbacksConfig:
    return CallbacksConfig(timeout=3600)


@asynccontextmanager
async def deliveries(folder: Path, config: CallbacksConfig) -> AsyncIterator[Deliveries]:
    """Run a record that delivers callbacks and hands out no job."""
    async with (
        SqliteConfig(kind="sqlite").open(folder) as backend,
        open_blobs(folder) as blobs,
        open_session(EgressPolicy(allow_loopback=True)) as session,
    ):
        deliverer = CallbackDeliverer(
            backend=backend,
            blobs=blobs,
            sender=CallbackSender(session, config),
            schedule=config.schedule,
        )
        limits = RunLimits(
            workers=1, callbacks=config.concurrency, callbacks_per_host=config.per_host
        )

        async def process(_job_id: str) -> None:
            """Leave it queued: the test ends it."""

        running = asyncio.create_task(backend.run(process, deliverer.deliver, limits))
        try:
            yield Deliveries(backend, blobs)
        finally:
            running.cancel()
            await asyncio.wait([running])


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
async def test_500_receivers_that_drip_their_answers_do_not_hold_up_the_others(
    tmp_path: Path, dripping: DrippingReceiver, receiver: Receiver, config: CallbacksConfig
) -> None:
    async with deliveries(tmp_path, config) as due:
        for number in range(DRIPPING):
            host = f"127.1.{number // 250}.{number % 250 + 1}"
            await due.add(f"http://{host}:{dripping.port}/")
        await dripping.until_open(DRIPPING)
        for _ in range(HEALTHY):
            await due.add(receiver.url)
        for _ in range(HEALTHY):
            await receiver.next()
        assert dripping.open.total() == DRIPPING
        assert due.backend.stats().callbacks_pending >= DRIPPING


async def test_one_host_that_hangs_gets_so_many_callbacks_at_a_time_and_others_get_theirs(
    tmp_path: Path, dripping: DrippingReceiver, receiver: Receiver, config: CallbacksConfig
) -> None:
    async with deliveries(tmp_path, config) as due:
        for _ in range(20):
            await due.add(f"http://127.0.0.1:{dripping.port}/")
        await dripping.until_open(config.per_host)
        await due.add(receiver.url)
        await receiver.next()
        assert dripping.most == {"127.0.0.1": config.per_host}
        assert due.backend.stats().callbacks_pending >= 20
