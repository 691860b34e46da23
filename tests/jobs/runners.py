"""Workers to run, on a record of jobs that notes what it was told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from imgsvc.jobs import CallbackDeliverer, ImageEditor, JobRunner, RunLimits
from imgsvc.jobs.backend import Frozen
from imgsvc.jobs.models import BatchSpec, ImageSpec, Job, JobState, NewJob, Outcome
from imgsvc.jobs.sqlite import SqliteBackend
from jobs.backends import nothing, until_settled
from jobs.parts import image_spec, stored
from standins.pictures import picture
from standins.receiver import Receiver

MakeImageEditor = Callable[..., ImageEditor]
MakeRunner = Callable[..., JobRunner]
MakeDeliverer = Callable[..., CallbackDeliverer]

PNG = picture()


class RecordingBackend(SqliteBackend):
    """A real record of jobs that notes how they ended."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.finished: list[tuple[str, int, JobState]] = []

    async def finish(self, job_id: str, token: int, outcome: Outcome, callback: Frozen) -> bool:
        won = await super().finish(job_id, token, outcome, callback)
        if won:
            self.finished.append((job_id, token, outcome.state))
        return won


@asynccontextmanager
async def running(
    runner: JobRunner, deliverer: CallbackDeliverer | None = None, *, workers: int = 2
) -> AsyncIterator[None]:
    """Run the workers while the context lasts, as the service does; callbacks if asked for."""
    deliver = deliverer.deliver if deliverer else nothing
    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            runner.backend.run(runner.process, deliver, RunLimits(workers=workers))
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
    new = NewJob(spec=spec, callback_url=receiver.url, request_id=request_id)
    return (await runner.backend.accept(new)).job


async def run_one(
    runner: JobRunner, deliverer: CallbackDeliverer, receiver: Receiver, **job: Any
) -> dict[str, Any]:
    """Do one job to its very end and return its one callback."""
    accepted = await accept(runner, receiver, **job)
    async with running(runner, deliverer):
        await until_settled(runner.backend, accepted)
    body: dict[str, Any] = (await receiver.next()).json
    assert body["job_id"] == accepted.id
    assert len(receiver.received) == 1
    return body
