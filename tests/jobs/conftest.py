"""The room put together piece by piece, all of it on the session's event loop."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.typing import EventDict

from imgsvc.callbacks import CallbacksConfig, CallbackSender, open_session
from imgsvc.imaging.admission import ImageGate
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.pool import ImagePool, open_image_pool
from imgsvc.jobs import (
    BatchEditor,
    BlobFolder,
    BudgetsConfig,
    CallbackDeliverer,
    Freezer,
    ImageEditor,
    ImageFetcher,
    JobRunner,
    Thumbnailer,
    WorkersConfig,
    open_blobs,
)
from imgsvc.jobs.sqlite.writer import open_database
from imgsvc.providers import EditRouter, LocalConfig, LocalProvider, Provider, RoutingConfig
from imgsvc.storage import FilesystemConfig
from jobs.batches import Buckets, MakeEditor, make_batch_editor
from jobs.fetching import LOOPBACK, make_fetcher
from jobs.parts import ScriptedProvider, at_once
from jobs.runners import MakeDeliverer, MakeImageEditor, MakeRunner, RecordingBackend
from standins.receiver import Receiver, callback_receiver


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool() -> AsyncIterator[ImagePool]:
    async with open_image_pool(ImagesConfig(processes=1)) as pool:
        yield pool


@pytest.fixture
def gate(pool: ImagePool) -> ImageGate:
    return ImageGate(inspectors=pool, limits=ImagesConfig().limits)


@pytest_asyncio.fixture(loop_scope="session")
async def blobs(tmp_path: Path) -> AsyncIterator[BlobFolder]:
    async with open_blobs(tmp_path / "data") as folder:
        yield folder


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    async with callback_receiver() as running:
        yield running


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Return the folder that `blobs` keeps its working copies in."""
    return tmp_path / "data" / "spool" / "scratch"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return the folder that `blobs` keeps its blobs in."""
    return tmp_path / "data" / "spool" / "blobs"


@pytest.fixture
def buckets(tmp_path: Path) -> Buckets:
    return Buckets(tmp_path / "files", FilesystemConfig())


def make_router(provider: Provider | None, pool: ImagePool) -> EditRouter:
    """Return a router whose waits take no time."""
    local = LocalProvider(pool, LocalConfig())
    return EditRouter([provider or ScriptedProvider()], local, RoutingConfig(), sleep=at_once)


@pytest_asyncio.fixture(loop_scope="session")
async def backend(tmp_path: Path) -> AsyncIterator[RecordingBackend]:
    async with open_database(tmp_path / "jobs.db") as database:
        yield RecordingBackend(database, max_queued=100)


@pytest.fixture
def make_editor(
    gate: ImageGate,
    pool: ImagePool,
    blobs: BlobFolder,
    buckets: Buckets,
    backend: RecordingBackend,
) -> MakeEditor:
    def make(
        provider: Provider | None = None,
        *,
        item_timeout: float = 60,
        slots: int = 100,
        config: FilesystemConfig | None = None,
        storage: Buckets = buckets,
    ) -> BatchEditor:
        return make_batch_editor(
            items=backend.items,
            gate=gate,
            router=make_router(provider, pool),
            blobs=blobs,
            storage=storage,
            buckets=config or FilesystemConfig(),
            timeout=item_timeout,
            slots=slots,
        )

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session as fetcher and sender get it while the service listens on loopback alone."""
    async with open_session(LOOPBACK) as opened:
        yield opened


@pytest.fixture
def fetcher(session: aiohttp.ClientSession) -> ImageFetcher:
    return make_fetcher(session)


@pytest.fixture
def make_image_editor(
    gate: ImageGate,
    pool: ImagePool,
    blobs: BlobFolder,
    buckets: Buckets,
    session: aiohttp.ClientSession,
) -> MakeImageEditor:
    def make(provider: Provider | None = None) -> ImageEditor:
        return ImageEditor(
            gate=gate,
            fetcher=make_fetcher(session, max_bytes=gate.limits.max_bytes),
            router=make_router(provider, pool),
            blobs=blobs,
            storage=buckets,
            buckets=FilesystemConfig(presign_expires=900),
        )

    return make


@pytest.fixture
def make_runner(
    blobs: BlobFolder,
    backend: RecordingBackend,
    make_image_editor: MakeImageEditor,
    make_editor: MakeEditor,
) -> MakeRunner:
    def make(
        provider: Provider | None = None,
        budgets: BudgetsConfig | None = None,
        **config: Any,
    ) -> JobRunner:
        return JobRunner(
            backend=backend,
            blobs=blobs,
            images=make_image_editor(provider),
            batches=make_editor(provider),
            freezer=Freezer(blobs=blobs, first_delay=0),
            thumbnailer=Thumbnailer(ImagesConfig(), blobs),
            config=WorkersConfig(**config),
            budgets=budgets or BudgetsConfig(),
        )

    return make


@pytest.fixture
def make_deliverer(
    blobs: BlobFolder, backend: RecordingBackend, session: aiohttp.ClientSession
) -> MakeDeliverer:
    def make(schedule: Sequence[float] = (0, 0)) -> CallbackDeliverer:
        return CallbackDeliverer(
            backend=backend,
            blobs=blobs,
            sender=CallbackSender(session, CallbacksConfig()),
            schedule=schedule,
            random=lambda: 0.5,
        )

    return make


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """Catch the lines of the log with what is bound to their context."""
    with capture_logs(processors=[merge_contextvars]) as captured:
        yield captured
