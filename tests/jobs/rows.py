"""Items of batches as the record has them in the end."""

from collections import Counter
from collections.abc import Sequence

from imgsvc.jobs.items import Item, ItemEnd, ItemState, ItemSums

STOPPED = "BudgetSpent: This job has spent it."


def item(state: ItemState, key: str = "input/a.png", *, reason: str | None = None) -> Item:
    """Return an item that has ended in this state, or has not ended yet."""
    if state in {ItemState.FALLBACK_LOCAL, ItemState.FALLBACK_OTHER}:
        reason = reason or "provider_timeout"
    providers = {
        ItemState.PROCESSED: "openai",
        ItemState.FALLBACK_OTHER: "gateway",
        ItemState.FALLBACK_LOCAL: "local",
    }
    errors = {ItemState.FAILED: "CorruptImage: broken", ItemState.NOT_STARTED: STOPPED}
    has_output = state in providers
    is_tried = has_output or state is ItemState.FAILED
    end = ItemEnd(
        state=state,
        output_key=f"output/{key}" if has_output else None,
        provider=providers.get(state),
        fallback_reason=reason,
        error=errors.get(state),
        bytes=7 if has_output else None,
        seconds=0.5 if is_tried else 0.0,
    )
    return Item(
        number=1,
        key=key,
        size=7,
        output=f"output/{key}",
        attempts=int(is_tried),
        interruptions=0,
        end=end,
    )


def sums(items: Sequence[Item], *, lines: int = 20) -> ItemSums:
    """Add up items as the record does."""
    ends = [each.end for each in items]
    not_started = [end.error for end in ends if end.state is ItemState.NOT_STARTED]
    return ItemSums(
        states=Counter(end.state for end in ends),
        fallback_reasons=Counter(end.fallback_reason for end in ends if end.fallback_reason),
        stopped=not_started[0] if not_started else None,
        failed=[each for each in items if each.end.state is ItemState.FAILED][:lines],
        skipped=[each for each in items if each.end.state is ItemState.SKIPPED][:lines],
    )
