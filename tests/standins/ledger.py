"""What callers were promised, and whether it was kept."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from imgsvc.jobs.models import EventType
from imgsvc.jobs.moves import FINAL
from standins.pictures import as_base64, picture
from standins.receiver import Received
from standins.record import Record

WEBHOOK_ID = "webhook-id"

PATHS = ("/process-image-async-b64", "/process-image-async", "/batch-process-images")


def fill_input_bucket(data_dir: Path, *, images: int) -> None:
    """Put pictures where a batch finds them."""
    folder = data_dir / "files" / "input" / "input"
    folder.mkdir(parents=True)
    for number in range(images):
        (folder / f"{number}.png").write_bytes(picture())


def request_body(path: str, prompt: str) -> dict[str, Any]:
    """Return a small request for one of the tools."""
    if path == "/batch-process-images":
        return {"prompt": prompt}
    return {"prompt": prompt, "image_base64": as_base64(picture()), "filename": "p.png"}


async def submit(
    session: aiohttp.ClientSession, server: str, path: str, prompt: str, callback_url: str
) -> str | None:
    """Return the job's id, or None if the server was gone before its 202 had come."""
    body = request_body(path, prompt)
    headers = {"callbackUrl": callback_url}
    try:
        async with session.post(server + path, json=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["job_id"])
    except aiohttp.ClientError:
        return None


async def submit_one_of_each(server: str, callback_url: str) -> set[str]:
    """Send a request for each tool at once; return the ids of those that got their 202."""
    async with aiohttp.ClientSession() as session:
        answers = (submit(session, server, path, path, callback_url) for path in PATHS)
        return {job_id for job_id in await asyncio.gather(*answers) if job_id is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """How the promises stand; the repetitions are of each job."""

    lost: list[str]  # what is missing, in words
    differing: list[str]  # what is not the same everywhere, in words
    executions: Counter[str]  # beyond the first
    deliveries: Counter[str]  # beyond the first
    states: Counter[str]
    unanswered: int  # jobs whose caller has not heard of them

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, and nobody was told two things."""
        return not self.lost and not self.differing


def audit(promised: Iterable[str], received: Sequence[Received], record: Record) -> Audit:
    """Compare the ids of all 202s and all that the receiver got with a record at rest."""
    promised = set(promised)
    by_job: dict[str, list[Received]] = defaultdict(list)
    for callback in received:
        by_job[callback.json["job_id"]].append(callback)
    lost = [f"{job_id}: unknown" for job_id in promised - set(record.jobs)]
    differing = [f"{job_id}: called back, but unknown" for job_id in set(by_job) - set(record.jobs)]
    for job in record.jobs.values():
        ends = [event for event in record.events[job.id] if event.type is EventType.FINISHED]
        if job.state not in FINAL or len(ends) != 1:
            lost.append(f"{job.id}: {job.state}, ended {len(ends)} times")
        callbacks = by_job[job.id]
        if not callbacks:
            lost.append(f"{job.id}: not called back")
            continue
        if {callback.headers[WEBHOOK_ID] for callback in callbacks} != {job.webhook_id}:
            differing.append(f"{job.id}: {WEBHOOK_ID}")
        if len({callback.body for callback in callbacks}) != 1:
            differing.append(f"{job.id}: body")
        if callbacks[0].json["status"] != job.state:
            differing.append(f"{job.id}: status")
    return Audit(
        lost=lost,
        differing=differing,
        executions=+Counter({job.id: job.attempt - 1 for job in record.jobs.values()}),
        deliveries=+Counter({job_id: len(got) - 1 for job_id, got in by_job.items()}),
        states=Counter(job.state.value for job in record.jobs.values()),
        unanswered=len(set(record.jobs) - promised),
    )
