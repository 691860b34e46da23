"""Jobs: what a caller asked for and how far it has come."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from imgsvc.imaging.gate import ImageInfo
from imgsvc.providers.base import EditOptions


class JobKind(StrEnum):
    """What a job does and how its result travels."""

    IMAGE_TO_BASE64 = "image_to_base64"  # one image; the result is in the callback
    IMAGE_TO_STORAGE = "image_to_storage"  # one image; the callback has a signed link
    BATCH = "batch"  # every image below a prefix of the input bucket


class JobState(StrEnum):
    """Where a job stands; all but the first two are final and callback ``status`` words."""

    QUEUED = "queued"  # accepted, waiting for a worker
    RUNNING = "running"  # a worker has it
    COMPLETED = "completed"  # did all that was asked for
    COMPLETED_WITH_ERRORS = "completed_with_errors"  # batches: some items failed or fell back
    FAILED = "failed"  # no result
    CANCELLED = "cancelled"  # stopped at the caller's wish


@dataclass(frozen=True, kw_only=True, slots=True)
class BlobRef:
    """A file in the blob folder."""

    key: str
    size: int  # bytes
    sha256: str  # hexadecimal
    content_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImage:
    """An image that came with the request and has passed the gate."""

    blob: BlobRef
    info: ImageInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteImage:
    """An image that the worker has to fetch."""

    url: str = field(repr=False)  # may carry a signature


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSpec:
    """Edit one image."""

    kind: JobKind
    prompt: str = field(repr=False)  # the caller's words stay out of logs
    image: StoredImage | RemoteImage
    filename: str | None = None  # echoed exactly as given
    mask: BlobRef | None = None
    options: EditOptions = field(default_factory=EditOptions)
    fallback_allowed: bool = True

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """The inputs that are no longer needed once the job is done."""
        image = self.image.blob if isinstance(self.image, StoredImage) else None
        return tuple(blob for blob in (image, self.mask) if blob is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSpec:
    """Edit every image below a prefix."""

    prompt: str = field(repr=False)
    input_prefix: str
    output_prefix: str
    concurrency: int  # images in work at once
    options: EditOptions = field(default_factory=EditOptions)
    fallback_allowed: bool = True

    @property
    def kind(self) -> JobKind:
        """Always a batch."""
        return JobKind.BATCH

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """A batch reads its inputs from the bucket."""
        return ()


JobSpec = ImageSpec | BatchSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One accepted request."""

    id: str  # UUID version 4
    spec: JobSpec
    callback_url: str = field(repr=False)  # may carry a token
    request_id: str
    webhook_id: str  # the same on every delivery of this job's one callback
    accepted_at: datetime
    state: JobState = JobState.QUEUED
    attempt: int = 0  # fences workers: only the holder of the newest may finish the job
    callback_body: BlobRef | None = None  # frozen together with the final state


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a job ended, with its callback's JSON body in parts to be joined."""

    state: JobState
    body: list[bytes] = field(repr=False)
