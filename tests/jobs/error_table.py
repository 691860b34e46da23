"""What becomes of a job for each error of the image API: the real rooms, and the stand-in.

Only the router's waits take no time; they are noted instead.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from imgsvc.imaging.admission import ImageGate
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.pool import ImagePool
from imgsvc.jobs import (
    BlobFolder,
    BudgetsConfig,
    Freezer,
    ImageEditor,
    JobBackend,
    JobRunner,
    Thumbnailer,
    WorkersConfig,
    open_blobs,
)
from imgsvc.jobs.models import BatchSpec, Job, NewJob
from imgsvc.jobs.sqlite import SqliteConfig
from imgsvc.providers import EditRouter, LocalConfig, LocalProvider, OpenAIConfig, RoutingConfig
from imgsvc.providers.openai.provider import open_openai
from imgsvc.storage import FilesystemConfig
from jobs.batches import Buckets, make_batch_editor, manifest
from jobs.fetching import make_fetcher
from jobs.parts import batch_spec, image_spec, stored
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import picture

UNREACHABLE = "unreachable"
"""The failure of an image API that does not listen."""

_NOBODY = "http://127.0.0.1:1/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What became of one job."""

    job: Job
    calls: int  # of the image API, those too that found no connection
    waits: list[float]  # seconds before calls that were made again
    callback: dict[str, Any]
    breaker: str  # its state afterwards
    seconds: float
    manifest: dict[str, Any] = field(default_factory=dict)  # of a batch

    @property
    def cost_unknown(self) -> bool:
        """Whether the record says that a call may have been billed for nothing."""
        assert self.job.outcome is not None
        return self.job.outcome.cost_unknown


@dataclass(kw_only=True, slots=True)
class Bench:
    """Runs single jobs, each with a fresh router."""

    standin: OpenAIStandin
    pool: ImagePool
    blobs: BlobFolder
    backend: JobBackend
    buckets: Buckets
    session: aiohttp.ClientSession

    async def edit(
        self,
        failure: str,
        *,
        times: int | None = None,
        fallback_allowed: bool = True,
        job_timeout: float = 600,
    ) -> Seen:
        """Edit one picture; the first calls fail so, without `times` all of them."""
        if failure != UNREACHABLE and times is None:
            self.standin.fail_always(failure)
        elif failure != UNREACHABLE and times is not None:
            self.standin.fail_next(failure, times=times)
        blob = await self.blobs.put([picture()], content_type="image/png")
        spec = image_spec(image=stored(blob), filename="a.png", fallback_allowed=fallback_allowed)
        base_url = _NOBODY if failure == UNREACHABLE else self.standin.base_url
        seen = await self._run(NewJob(spec=spec, request_id="req-1"), base_url, job_timeout)
        self.standin.fail_always(None)
        return seen

    async def edit_batch(self, images: int, failure: str, *, works: int, **spec: Any) -> Seen:
        """Edit so many pictures; the first calls work, and all behind them fail."""
        for number in range(images):
            self.buckets.add(f"input/{number:04}.png", picture(4, 4))
        self.standin.fail_after(works, failure)
        new = NewJob(spec=batch_spec(**spec), request_id="req-1")
        return await self._run(new, self.standin.base_url, 600)

    async def _run(self, new: NewJob, base_url: str, job_timeout: float) -> Seen:
        waits: list[float] = []

        async def note(seconds: float) -> None:
            waits.append(seconds)

        config = OpenAIConfig.model_validate(
            # Only an API that does not answer lets this time pass.
            {"api_key": self.standin.api_key, "base_url": base_url, "timeout": 2}
        )
        async with open_openai(config, self.pool) as provider:
            local = LocalProvider(self.pool, LocalConfig())
            router = EditRouter(
                [provider],
                local,
                RoutingConfig(),
                clock=lambda: monotonic() + sum(waits),
                sleep=note,
                chance=lambda: 0.0,
            )
            runner = self._runner(router, job_timeout)
            accepted = (await self.backend.accept(new)).job
            started = monotonic()
            await runner.process(accepted.id)
            seconds = monotonic() - started
        job = await self.backend.get(accepted.id)
        assert job.callback_body is not None
        key = f"output/{job.id}/manifest.json"
        return Seen(
            job=job,
            calls=router.figures.calls.total(),
            waits=waits,
            callback=json.loads(self.blobs.path(job.callback_body).read_bytes()),
            breaker=router.breakers.statuses()[0].state.value,
            seconds=seconds,
            manifest=manifest(self.buckets, key) if isinstance(new.spec, BatchSpec) else {},
        )

    def _runner(self, router: EditRouter, job_timeout: float) -> JobRunner:
        gate = ImageGate(inspectors=self.pool, limits=ImagesConfig().limits)
        buckets = FilesystemConfig()
        return JobRunner(
            backend=self.backend,
            blobs=self.blobs,
            images=ImageEditor(
                gate=gate,
                fetcher=make_fetcher(self.session),
                router=router,
                blobs=self.blobs,
                storage=self.buckets,
                buckets=buckets,
            ),
            batches=make_batch_editor(
                items=self.backend.items,
                gate=gate,
                router=router,
                blobs=self.blobs,
                storage=self.buckets,
                buckets=buckets,
                timeout=job_timeout,
            ),
            freezer=Freezer(blobs=self.blobs, first_delay=0),
            thumbnailer=Thumbnailer(ImagesConfig(), self.blobs),
            config=WorkersConfig(job_timeout=job_timeout),
            budgets=BudgetsConfig(),
        )


@asynccontextmanager
async def open_bench(folder: Path, pool: ImagePool) -> AsyncIterator[Bench]:
    """Yield what runs jobs, with its data in this empty folder."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        yield Bench(
            standin=await enter(openai_standin()),
            pool=pool,
            blobs=await enter(open_blobs(folder)),
            backend=await enter(SqliteConfig().open(folder)),
            buckets=Buckets(folder / "files", FilesystemConfig()),
            session=await enter(aiohttp.ClientSession()),
        )
