"""The items of batches: what becomes of each object, kept in the record beside the jobs.

A batch that is stopped at any instant goes on with what is here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from imgsvc.jobs.models import Job
from imgsvc.jobs.spent import Spent


class ItemState(StrEnum):
    """Where one object of a batch stands; all but the first two are final."""

    PENDING = "pending"  # an image whose turn has not come
    RUNNING = "running"  # an image in work
    PROCESSED = "processed"  # edited by the asked-for provider
    FALLBACK_OTHER = "fallback_other"  # edited by another image API instead
    FALLBACK_LOCAL = "fallback_local"  # edited by the local engine instead
    FAILED = "failed"  # an image without an output
    NOT_STARTED = "not_started"  # as well: the batch had stopped before its turn came
    SKIPPED = "skipped"  # not an image


class JobLost(Exception):
    """This worker no longer holds the job: what it does counts for nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An object as the listing has it, or one that was named."""

    key: str  # may have lone surrogates, of a file name that is not UTF-8
    size: int  # bytes
    modified: datetime
    may_be_image: bool
    error: str | None = None  # why it cannot be edited: too large, or named and not there

    @property
    def is_pending(self) -> bool:
        """Whether there is something to do about it."""
        return self.may_be_image and self.error is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The images of a batch, counted; objects that are no images do not count at all."""

    done: int = 0  # have ended, with an output or without
    failed: int = 0  # those of them without an output, not begun ones too
    total: int = 0  # found
    total_is_final: bool = False  # whether no more will be found
    rate: float | None = None  # images a second, lately; None: not known

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take; None if that is not known, or nothing is left."""
        left = self.total - self.done
        if not self.total_is_final or not self.rate or left <= 0:
            return None
        return round(left / self.rate, 1)

    @property
    def shown(self) -> Mapping[str, int | float | bool]:
        """The fields that tell of it; one without a value is left out."""
        fields = {
            "done": self.done,
            "failed": self.failed,
            "total": self.total,
            "total_is_final": self.total_is_final,
            "rate": self.rate,
            "seconds_left": self.seconds_left,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """How far a batch has listed its objects."""

    begun_at: datetime  # when the first worker took the batch
    folder: str  # id of the job whose output folder is used: a job that is done again keeps it
    last_key: str | None  # the listing goes on behind it
    images: int  # objects found so far that may be images
    is_complete: bool
    progress: Progress  # without a rate


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemEnd:
    """How one item ended."""

    state: ItemState
    output_key: str | None = None
    provider: str | None = None
    model: str | None = None
    fallback_reason: str | None = None
    operations: tuple[str, ...] | None = None  # only if the local engine edited it
    ignored: tuple[str, ...] | None = None  # words of the prompt; as operations
    error: str | None = None
    bytes: int | None = None  # of the output
    seconds: float = 0.0
    # By the attempt that ended it; as it is read, by all attempts that have ended.
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One object of a batch."""

    number: int  # from 1, in the order of the listing
    key: str
    size: int  # bytes
    output: str | None  # the output's key without extension; None: it is no image
    attempts: int  # how often it was begun
    interruptions: int  # attempts that ended with an orderly stop of the service
    started_at: datetime | None = None  # the newest attempt
    finished_at: datetime | None = None  # None also of what was never begun
    end: ItemEnd  # as far as it has come: its state always counts


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemFilter:
    """Which items a list shows."""

    job_id: str
    state: ItemState | None = None  # None is all


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemSums:
    """What the items of a batch add up to."""

    states: Counter[ItemState]
    fallback_reasons: Counter[str]
    stopped: str | None  # why images were not started, if any were not
    failed: Sequence[Item]  # the first ones
    skipped: Sequence[Item]  # the first ones


class Items(Protocol):
    """Keeps the items of batches durably.

    `job` is the claimed job, whose attempt fences its worker: all that take one raise
    JobLost, and change nothing, if it is not running with this attempt. All raise
    DiskRefuses while the disk takes nothing.
    """

    async def open(self, job: Job) -> Listing:
        """Begin or carry on a batch; what its lost worker had in work is pending again.

        One that is done again has the items of the former one: those without an output
        are pending, the others as they were.
        """
        ...

    async def add(self, job: Job, found: Sequence[Found], *, is_last: bool) -> None:
        """Add what was listed behind all before; `is_last` if that is all there is.

        Images have their outputs named and are pending, or failed if there is an error; what
        is none is skipped.
        """
        ...

    async def take(self, job: Job, *, again: bool = False) -> Item | None:
        """Begin the first pending item, and return it as it was; None if there is none.

        With `again` only an item that was begun before.
        """
        ...

    async def end(
        self, job: Job, number: int, end: ItemEnd, *, rate: float | None = None
    ) -> Progress:
        """End an item that was begun, and return how far the batch is then.

        `rate` is kept with that.
        """
        ...

    async def abandon(self, job: Job, error: str) -> None:
        """End what is pending or in work as not started, for this reason."""
        ...

    async def progress(self, job_id: str) -> Progress | None:
        """Return how far a batch is, in no time; None if its worker has not opened it yet."""
        ...

    async def sums(self, job_id: str, *, lines: int) -> ItemSums:
        """Add up the items, with so many of those that failed or were skipped."""
        ...

    async def page(self, wanted: ItemFilter, *, after: int, limit: int) -> Sequence[Item]:
        """Return at most `limit` items with a number above `after`, in order.

        Raises JobNotFound.
        """
        ...
