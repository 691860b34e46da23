"""Jobs: what a caller asked for and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from imgsvc.imaging.gate import ImageInfo
from imgsvc.jobs.spent import Spent
from imgsvc.providers.catalogue import Catalogue
from imgsvc.providers.options import EditOptions

DEFAULT_PRIORITY = 5
"""Of a job whose caller names none; 9 goes first, 0 last."""


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


class CallbackState(StrEnum):
    """Where a job's callback stands."""

    NONE = "none"  # the job has not ended, or nobody asked for a callback
    PENDING = "pending"  # frozen, and to be delivered
    DELIVERED = "delivered"  # the receiver has it
    DEAD = "dead"  # given up


class EventType(StrEnum):
    """What can happen to a job, as its story tells it."""

    QUEUED = "queued"  # accepted; also put back after a crash
    STARTED = "started"  # a worker has claimed it
    PARTIAL_IMAGE = "partial_image"  # the image API has shown what it has made so far
    PROVIDER_CALLED = "provider_called"  # the image API has answered, or failed
    PROVIDER_RETRY = "provider_retry"  # it will be asked again after a wait
    FALLBACK = "fallback"  # the local engine stepped in
    ITEM_DONE = "item_done"  # a batch is done with one object
    STORED = "stored"  # the result is in the bucket
    CANCEL_REQUESTED = "cancel_requested"  # the worker has been told to stop
    FINISHED = "finished"  # its end is fixed, and so is its callback
    CALLBACK_ATTEMPT = "callback_attempt"  # one delivery was tried
    CALLBACK_DELIVERED = "callback_delivered"  # the receiver has it
    CALLBACK_DEAD = "callback_dead"  # given up
    CALLBACK_REDELIVERED = "callback_redelivered"  # due once more, at an operator's wish


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
    max_cost: int | None = None  # nano-dollars; None: as configured

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """The inputs that are no longer needed once the job is done for good."""
        image = self.image.blob if isinstance(self.image, StoredImage) else None
        return tuple(blob for blob in (image, self.mask) if blob is not None)

    def keeps_blobs(self, state: JobState) -> bool:
        """Tell whether a job that ended so keeps them, to be done again."""
        return state is JobState.FAILED

    def asked_for(self, catalogue: Catalogue) -> str:
        """Return the name of the provider that is asked first."""
        return catalogue.asked_for(self.options, has_mask=self.mask is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSpec:
    """Edit every image below a prefix, or those that are named."""

    prompt: str = field(repr=False)
    input_prefix: str  # empty if `keys` names them
    output_prefix: str
    concurrency: int  # images in work at once
    options: EditOptions = field(default_factory=EditOptions)
    fallback_allowed: bool = True
    max_cost: int | None = None  # nano-dollars; None: as configured
    input_bucket: str | None = None  # None, of a job from before there was a choice: as configured
    output_bucket: str | None = None  # as input_bucket
    keys: BlobRef | None = None  # the objects' keys, sorted, each on a line of its own
    include: tuple[str, ...] = ()  # globs of what is taken, below input_prefix; empty is all
    exclude: tuple[str, ...] = ()  # globs of what of that is not
    since: datetime | None = None  # modified then or later
    limit: int | None = None  # images

    @property
    def kind(self) -> JobKind:
        """Always a batch."""
        return JobKind.BATCH

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """What it needs beside the bucket."""
        return () if self.keys is None else (self.keys,)

    def keeps_blobs(self, state: JobState) -> bool:
        """Tell whether a job that ended so keeps them, to be done again."""
        return state is not JobState.COMPLETED

    def asked_for(self, catalogue: Catalogue) -> str:
        """Return the name of the provider that is asked first."""
        return catalogue.asked_for(self.options, has_mask=False)


JobSpec = ImageSpec | BatchSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueLimits:
    """How much of one client may wait; None: any number."""

    jobs: int | None = None
    bytes: int | None = None  # of what came with the requests


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """What is asked of the record when a request has passed all checks."""

    spec: JobSpec
    request_id: str
    client: str = "local"  # whose turn it is: fairness and idempotency are per client
    callback_url: str | None = field(default=None, repr=False)  # may carry a token
    progress_url: str | None = field(default=None, repr=False)  # as well; only of a batch
    priority: int = DEFAULT_PRIORITY
    idempotency_key: str | None = None  # as the caller gave it
    digest: str = ""  # of what was asked for; tells a repetition from another request
    retry_of: str | None = None  # the id of the job that this one does again
    limits: QueueLimits = field(default_factory=QueueLimits)  # of its client

    @property
    def payload(self) -> int:
        """The bytes of what came with the request."""
        return sum(blob.size for blob in self.spec.blobs)


@dataclass(frozen=True, kw_only=True, slots=True)
class InlineResult:
    """An edited image inside the callback's body, where it can be read from."""

    offset: int  # of its base64 text in the body, in bytes
    length: int  # of that text, in bytes
    media_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredResult:
    """An edited image, or a batch's manifest, in the output bucket."""

    bucket: str
    key: str


Result = InlineResult | StoredResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a job ended; the callback's body tells the same to its receiver."""

    state: JobState
    provider: str | None = None  # who edited, or would have
    model: str | None = None  # that edited the one image; the local engine has none
    fallback_reason: str | None = None  # set only if another one stepped in
    operations: tuple[str, ...] = ()  # what the local engine did to the one image, in order
    ignored: tuple[str, ...] = ()  # words of the prompt that it did not understand
    error: str | None = None  # `Kind: what happened and what to do`
    moderation_categories: tuple[str, ...] = ()  # what the image API objected to in the one image
    result: Result | None = None
    cost_unknown: bool = False  # of a call: it may have been billed for nothing, or has no price


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One accepted request."""

    id: str  # UUID version 4
    seq: int  # its place in the order of arrival, for pages of a list
    spec: JobSpec
    client: str
    priority: int
    callback_url: str | None = field(repr=False)  # may carry a token; None: nobody is called
    request_id: str
    webhook_id: str  # the same on every delivery of this job's one callback
    retry_of: str | None
    accepted_at: datetime
    started_at: datetime | None = None  # the newest attempt
    finished_at: datetime | None = None
    state: JobState = JobState.QUEUED
    attempt: int = 0  # fences workers: only the holder of the newest may finish the job
    interruptions: int = 0  # attempts that ended with an orderly stop of the service
    cancel_requested: bool = False
    spent: Spent = field(default_factory=Spent)  # by calls that have ended, of all attempts
    outcome: Outcome | None = None  # fixed together with the final state
    callback_body: BlobRef | None = None  # frozen together with the final state
    callback_state: CallbackState = CallbackState.NONE
    callback_attempts: int = 0  # of the schedule that runs now
    next_attempt_at: datetime | None = None  # only while the callback is pending
    progress_url: str | None = field(default=None, repr=False)  # may carry a token; of a batch

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.finished_at is not None and self.callback_state is not CallbackState.PENDING


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Which jobs a list shows; None is all."""

    state: JobState | None = None
    kind: JobKind | None = None
    callback: CallbackState | None = None
    since: datetime | None = None  # accepted at this time or later
    client: str | None = None  # who sent them


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """One line of a job's story."""

    number: int  # from 1, without gaps as long as none was removed
    type: EventType
    at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallbackAttempt:
    """One attempt to deliver a callback, as it is kept."""

    number: int  # from 1; goes on counting when a callback is delivered once more
    at: datetime
    duration: float  # seconds
    verdict: str  # delivered, retry or dead
    status: int | None  # HTTP status; None without an answer
    error: str | None  # a short public phrase; None if delivered
    answer: str  # how the receiver's answer begins, at most 1 KiB
