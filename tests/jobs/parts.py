"""Jobs to do, and the parts around the room that tests can script."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import ImageInfo
from imgsvc.jobs import BudgetsConfig, JobAccount, JobBackend
from imgsvc.jobs.ledger import Bill, Ledger, Limits, NewCall
from imgsvc.jobs.models import (
    BatchSpec,
    BlobRef,
    EventType,
    ImageSpec,
    Job,
    JobKind,
    NewJob,
    RemoteImage,
    StoredImage,
)
from imgsvc.jobs.story import Story
from imgsvc.providers import Edited, EditRequest, Model, Observer

JOB_ID = "0c0ffee0-1234-4abc-8def-0123456789ab"
CALLBACK_URL = "http://127.0.0.1:9/callback"

Behaviour: TypeAlias = Callable[[EditRequest], Awaitable[EncodedImage]]


def image_spec(
    *,
    kind: JobKind = JobKind.IMAGE_TO_BASE64,
    image: StoredImage | RemoteImage | None = None,
    **fields: Any,
) -> ImageSpec:
    """Return a single image's job; without an image, one that nothing can fetch."""
    return ImageSpec(
        kind=kind,
        prompt="Make it night",
        image=image or RemoteImage(url="http://127.0.0.1:9/nothing"),
        **fields,
    )


def batch_spec(**fields: Any) -> BatchSpec:
    given: dict[str, Any] = {
        "prompt": "Make it night",
        "input_prefix": "input/",
        "output_prefix": "output/",
        "concurrency": 3,
    }
    return BatchSpec(**given | fields)


def make_job(spec: ImageSpec | BatchSpec, *, job_id: str = JOB_ID, **fields: Any) -> Job:
    given: dict[str, Any] = {
        "seq": 1,
        "client": "client-1",
        "priority": 5,
        "callback_url": CALLBACK_URL,
        "request_id": "req-7",
        "webhook_id": "msg_42",
        "retry_of": None,
        "accepted_at": datetime.now(UTC),
    }
    return Job(id=job_id, spec=spec, **given | fields)


def new_job(**fields: Any) -> NewJob:
    """Return what is asked of the record; by default for an image that nothing can fetch."""
    given: dict[str, Any] = {
        "spec": image_spec(filename="a.png"),
        "request_id": "req-1",
        "callback_url": CALLBACK_URL,
    }
    return NewJob(**given | fields)


@dataclass(slots=True)
class Told:
    """Stands for the record where only a job's story and bills go to it."""

    events: list[tuple[EventType, dict[str, Any]]] = field(default_factory=list)
    bills: list[Bill | None] = field(default_factory=list)

    def record_event(self, _job_id: str, kind: EventType, data: Mapping[str, Any]) -> None:
        self.events.append((kind, {k: v for k, v in data.items() if v is not None}))

    @property
    def story(self) -> Story:
        account = JobAccount(
            ledger=cast("Ledger", self), job=make_job(image_spec()), budgets=BudgetsConfig()
        )
        return Story(backend=cast("JobBackend", self), job_id=JOB_ID, account=account)

    async def reserve(self, _call: NewCall, _limits: Limits) -> None:
        """Have room for everything."""

    def settle(self, _call_id: str, bill: Bill | None) -> None:
        self.bills.append(bill)

    def next_settlement(self) -> asyncio.Event:
        return asyncio.Event()


def stored(blob: BlobRef, *, width: int = 64, height: int = 48) -> StoredImage:
    """Return the PNG in this blob as an image that has passed the gate."""
    info = ImageInfo(
        format=ImageFormat.PNG,
        width=width,
        height=height,
        frames=1,
        mode="RGB",
        orientation=1,
        bits=8,
    )
    return StoredImage(blob=blob, info=info)


def files(folder: Path) -> list[Path]:
    """Return what is in the folder."""
    return sorted(folder.iterdir())


async def at_once(_seconds: float) -> None:
    """Stand for asyncio.sleep, and take no time."""


async def edited(request: EditRequest) -> EncodedImage:
    """Return the picture as it came."""
    return EncodedImage(format=ImageFormat.PNG, content=request.image.read_bytes())


async def hangs(_request: EditRequest) -> EncodedImage:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def fails(error: Exception) -> Behaviour:
    """Answer with this error."""

    async def behaviour(_request: EditRequest) -> EncodedImage:
        raise error

    return behaviour


@dataclass(kw_only=True, slots=True)
class ScriptedProvider:
    """Does to each picture what is said for its file name, and counts what is in flight."""

    default: Behaviour = edited
    by_name: Mapping[str, Behaviour] = field(default_factory=dict)
    requests: list[EditRequest] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    name: str = "scripted"
    models: Mapping[str, Model] = field(
        default_factory=lambda: {"model-1": Model(name="model-1", usd_per_image=0.04)}
    )

    async def edit(self, request: EditRequest, _model: Model, _observer: Observer) -> Edited:
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            behave = self.by_name.get(request.filename or "", self.default)
            return Edited(image=await behave(request))
        finally:
            self.in_flight -= 1

    async def probe(self) -> None:
        raise AssertionError("nobody asks for it")
