"""Named places where a crash would hurt most; tests end the process at one of them.

Nothing happens there unless :func:`arm` was called, and only tests do that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class KillPoint(StrEnum):
    """A step that a crash can come before or after."""

    BLOB_WRITTEN = "blob_written"  # the payload is durable, the job not yet recorded
    ACCEPT_COMMITTED = "accept_committed"
    ANSWER_SENT = "answer_sent"  # the 202
    CLAIMED = "claimed"
    PROVIDER_CALLED = "provider_called"
    RESULT_STORED = "result_stored"  # in the bucket
    FINISH_COMMITTED = "finish_committed"
    CALLBACK_SENT = "callback_sent"
    DELIVERY_RECORDED = "delivery_recorded"


Hook = Callable[[KillPoint, str], None]
"""Called with the point, and with `before` or `after`."""

_hook: Hook | None = None


def arm(hook: Hook | None) -> None:
    """Call hook at every point from now on; None ends it."""
    global _hook  # noqa: PLW0603 - one hook for the whole process is what it is
    _hook = hook


@contextmanager
def around(point: KillPoint) -> Iterator[None]:
    """Mark the block as a step; what it raises passes, and then there is no `after`."""
    if _hook is not None:
        _hook(point, "before")
    yield
    if _hook is not None:
        _hook(point, "after")
