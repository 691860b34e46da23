"""Workers to run, on a record of jobs that notes what it was told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from imgsvc.callbacks import Verdict
from imgsvc.jobs import ImageEditor, JobRunner
from imgsvc.jobs.memory import MemoryBackend
from imgsvc.jobs.models import BatchSpec, BlobRef, ImageSpec, Job, JobState
from jobs.parts import image_spec, stored
from standins.pictures import picture
from standins.receiver import Receiver

MakeImageEditor = Callable[..., ImageEditor]
MakeRunner = Callable[..., JobRunner]

PNG = picture()


class RecordingBackend(MemoryBackend):
    """A real record of jobs that notes what it was told."""

    def __init__(self) -> None:
        super().__init__(max_queued=100, max_callbacks=100)
        self.finished: list[tuple[str, int, JobState]] = []
        self.verdicts: dict[str, Verdict] = {}
        self.frozen: BlobRef | None = None  # the last body

    async def finish(
        self, job_id: str, token: int, state: JobState, callback_body: BlobRef
    ) -> bool:
        won = await super().finish(job_id, token, state, callback_body)
        if won:
            self.finished.append((job_id, token, state))
            self.frozen = callback_body
        return won

    async def record_delivery(self, job_id: str, verdict: Verdict) -> None:
        self.verdicts[job_id] = verdict
        await super().record_delivery(job_id, verdict)


@asynccontextmanager
async def running(runner: JobRunner, *, workers: int = 2) -> AsyncIterator[None]:
    """Run the workers while the context lasts, as the service does."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            runner.backend.run(runner.process, runner.deliver, workers=workers)
        )
        try:
            yield
        finally:
            task.cancel()


async def accept(
    runner: JobRunner,
    receiver: Receiver,
    *,
    spec: ImageSpec | BatchSpec | None = None,
    request_id: str = "req-7",
) -> Job:
    """Accept a job; by default one that edits a picture that came with the request."""
    if spec is None:
        blob = await runner.blobs.put([PNG], content_type="image/png")
        spec = image_spec(image=stored(blob), filename="a.png")
    return await runner.backend.accept(spec, callback_url=receiver.url, request_id=request_id)


async def run_one(runner: JobRunner, receiver: Receiver, **job: Any) -> dict[str, Any]:
    """Do one job to its very end and return its one callback."""
    accepted = await accept(runner, receiver, **job)
    async with running(runner):
        await runner.backend.drain()
    body: dict[str, Any] = (await receiver.next()).json
    assert body["job_id"] == accepted.id
    assert len(receiver.received) == 1
    return body
