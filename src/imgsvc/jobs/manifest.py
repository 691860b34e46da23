"""What became of every object of a batch."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from time import monotonic
from typing import Any

import orjson

from imgsvc.errors import JobCancelled, describe
from imgsvc.jobs.bodies import MAX_ERROR_LINES, BatchCallback
from imgsvc.jobs.models import JobState, Spent

IMAGE_EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".avif", ".heic", ".heif"}
)

# Python's own table alone: the machine's would decide otherwise on another machine.
_TYPES = MimeTypes()


def looks_like_image(key: str) -> bool | None:
    """Say by the extension of an object's name whether it is an image.

    True is one of IMAGE_EXTENSIONS. False is one of another known type, text or video say,
    or of a picture that is never taken, SVG or ICO: not worth a download. None is an
    unknown extension or none at all, as in `IMG.2024-01-01`: the first bytes must tell.
    """
    extension = PurePosixPath(key).suffix
    if extension.lower() in IMAGE_EXTENSIONS:
        return True
    known = _TYPES.guess_type(f"name{extension}", strict=False)
    return None if known == (None, None) else False


class ItemState(StrEnum):
    """How one object of a batch ended."""

    PROCESSED = "processed"  # edited by the asked-for provider
    FALLBACK_OTHER = "fallback_other"  # edited by another image API instead
    FALLBACK_LOCAL = "fallback_local"  # edited by the local engine instead
    FAILED = "failed"  # an image without an output
    NOT_STARTED = "not_started"  # as well: the batch had stopped before its turn came
    SKIPPED = "skipped"  # not an image


@dataclass(kw_only=True, slots=True)
class Item:
    """One row of the manifest."""

    input_key: str
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
    cost_usd: float | None = None  # as far as it is known; None: nothing was called
    cost_unknown: bool | None = None  # True: that is not all of it


@dataclass(kw_only=True, slots=True)
class Manifest:
    """All rows of a batch, and what they add up to."""

    job_id: str
    provider: str  # the one that was asked for
    output_prefix: str
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # trouble beside the items, a line each
    cancelled: bool = False  # it was stopped before all images were done
    stopped: str | None = None  # why no further image was begun
    spent: Spent = field(default_factory=Spent)
    started: float = field(default_factory=monotonic)

    def counts(self) -> Counter[ItemState]:
        """Return how many items ended in each state."""
        return Counter(item.state for item in self.items)

    @property
    def state(self) -> JobState:
        """The batch's final state."""
        if self.cancelled:
            return JobState.CANCELLED
        counts = self.counts()
        fallback = counts[ItemState.FALLBACK_LOCAL] + counts[ItemState.FALLBACK_OTHER]
        failed = counts[ItemState.FAILED] + counts[ItemState.NOT_STARTED]
        if failed and not counts[ItemState.PROCESSED] + fallback:
            return JobState.FAILED
        if failed or self.notes or fallback:
            return JobState.COMPLETED_WITH_ERRORS
        return JobState.COMPLETED

    def error_lines(self) -> list[str]:
        """Return a line for each trouble: failures first, then what was skipped."""
        failed = [
            f"{item.input_key}: {item.error}"
            for item in self.items
            if item.state is ItemState.FAILED
        ]
        skipped = [
            f"{item.input_key}: skipped, not an image"
            for item in self.items
            if item.state is ItemState.SKIPPED
        ]
        return self.notes + self._stop_line() + failed + skipped

    def _stop_line(self) -> list[str]:
        """Return one line for all images that were not begun."""
        count = self.counts()[ItemState.NOT_STARTED]
        total = self.counters()["total_files"]
        return [f"{count} of {total} images were not begun: {self.stopped}"] if count else []

    def counters(self) -> dict[str, int]:
        """Return the counters of the callback; that of other image APIs only if there are any."""
        counts = self.counts()
        processed = counts[ItemState.PROCESSED]
        failed = counts[ItemState.FAILED] + counts[ItemState.NOT_STARTED]
        local, other = counts[ItemState.FALLBACK_LOCAL], counts[ItemState.FALLBACK_OTHER]
        counters = {
            "total_files": processed + local + other + failed,
            "processed": processed,
            "failed": failed,
            "fallback_local": local,
            "fallback_other": other,
            "total_files_processed": processed + local + other,
        }
        return {
            name: count for name, count in counters.items() if count or name != "fallback_other"
        }

    def callback(self, *, output_bucket: str) -> BatchCallback:
        """Return the body of the batch's callback."""
        reasons = Counter(item.fallback_reason for item in self.items if item.fallback_reason)
        lines = self.error_lines()
        state = self.state
        error = self.stopped
        if state is JobState.FAILED and error is None:
            first = next(item for item in self.items if item.state is ItemState.FAILED)
            error = f"BatchFailed: no image gave an output. The first reason: {first.error}"
        if state is JobState.CANCELLED:
            error = describe(JobCancelled())
        return BatchCallback.model_validate(
            {
                "status": state.value,
                "job_id": self.job_id,
                **self.counters(),
                "duration_seconds": round(monotonic() - self.started, 3),
                "output_bucket": output_bucket,
                "output_prefix": self.output_prefix,
                "errors": lines[:MAX_ERROR_LINES],
                "provider": self.provider,
                "fallback": bool(reasons),
                "fallback_reason": reasons.most_common(1)[0][0] if reasons else None,
                "error": error,
                **self.spent.shown,
            }
        )

    def to_json(self) -> bytes:
        """Return manifest.json: the counters, and one row an object in key order."""
        rows = sorted(self.items, key=lambda item: item.input_key)
        document: dict[str, Any] = {
            "job_id": self.job_id,
            "status": self.state.value,
            **self.counters(),
            "not_started": self.counts()[ItemState.NOT_STARTED],
            "skipped": self.counts()[ItemState.SKIPPED],
            **{name: value for name, value in self.spent.shown.items() if value is not None},
            "notes": self.notes,
            "items": [
                {name: value for name, value in asdict(row).items() if value is not None}
                for row in rows
            ],
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)
