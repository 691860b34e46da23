"""What a batch adds up to: its state, its counters and its callback."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from imgsvc.errors import JobCancelled, describe
from imgsvc.jobs.bodies import MAX_ERROR_LINES, BatchCallback
from imgsvc.jobs.items import ItemState, ItemSums
from imgsvc.jobs.manifest import shown
from imgsvc.jobs.models import Job, JobState
from imgsvc.jobs.spent import Spent


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """All items of a batch together, when none of them is in work any more."""

    job: Job
    provider: str  # the one that was asked for
    output_prefix: str
    sums: ItemSums  # with at least MAX_ERROR_LINES lines
    notes: tuple[str, ...] = ()  # trouble beside the items, a line each
    cancelled: bool = False  # it was stopped before all images were done
    spent: Spent
    seconds: float

    def with_note(self, note: str) -> "Summary":
        """Return this with one more line about trouble."""
        return replace(self, notes=(*self.notes, note))

    @property
    def state(self) -> JobState:
        """The batch's final state."""
        if self.cancelled:
            return JobState.CANCELLED
        counters = self.counters
        if counters["failed"] and not counters["total_files_processed"]:
            return JobState.FAILED
        if counters["total_files"] != counters["processed"] or self.notes:
            return JobState.COMPLETED_WITH_ERRORS
        return JobState.COMPLETED

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters of the callback; that of other image APIs only if there are any."""
        states = self.sums.states
        processed = states[ItemState.PROCESSED]
        failed = states[ItemState.FAILED] + states[ItemState.NOT_STARTED]
        local, other = states[ItemState.FALLBACK_LOCAL], states[ItemState.FALLBACK_OTHER]
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

    @property
    def error(self) -> str | None:
        """Why there is no result, or not all of it, in one line."""
        if self.cancelled:
            return describe(JobCancelled())
        if self.sums.stopped is not None or self.state is not JobState.FAILED:
            return self.sums.stopped
        reason = self.sums.failed[0].end.error
        return f"BatchFailed: no image gave an output. The first reason: {reason}"

    @property
    def error_lines(self) -> list[str]:
        """A line for each trouble: failures first, then what was skipped; not all of them."""
        failed = [f"{shown(item.key)}: {item.end.error}" for item in self.sums.failed]
        skipped = [f"{shown(item.key)}: skipped, not an image" for item in self.sums.skipped]
        lines = [*self.notes, *self._stop_line(), *failed, *skipped]
        return lines[:MAX_ERROR_LINES]

    def _stop_line(self) -> list[str]:
        """Return one line for all images that were not begun."""
        count, total = self.sums.states[ItemState.NOT_STARTED], self.counters["total_files"]
        if not count:
            return []
        return [f"{count} of {total} images were not begun: {self.sums.stopped}"]

    @property
    def head(self) -> Mapping[str, Any]:
        """What manifest.json tells before its rows."""
        head = {
            "job_id": self.job.id,
            "retry_of": self.job.retry_of,
            "status": self.state.value,
            **self.counters,
            "not_started": self.sums.states[ItemState.NOT_STARTED],
            "skipped": self.sums.states[ItemState.SKIPPED],
            **self.spent.shown,
            "notes": self.notes,
        }
        return {name: value for name, value in head.items() if value is not None}

    def callback(self, *, output_bucket: str) -> BatchCallback:
        """Return the body of the batch's callback."""
        reasons = self.sums.fallback_reasons
        return BatchCallback.model_validate(
            {
                "status": self.state.value,
                "job_id": self.job.id,
                **self.counters,
                "duration_seconds": round(self.seconds, 3),
                "output_bucket": output_bucket,
                "output_prefix": self.output_prefix,
                "errors": self.error_lines,
                "provider": self.provider,
                "fallback": bool(reasons),
                "fallback_reason": reasons.most_common(1)[0][0] if reasons else None,
                "error": self.error,
                **self.spent.shown,
            }
        )
