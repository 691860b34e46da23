"""Points in time as they are typed."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")

_LONGEST = timedelta(days=36525)


def parse_since(text: str, now: datetime) -> datetime:
    """Return the time that is meant, in UTC: `2h`, `3d` before now, or an ISO 8601 time.

    A time without an offset is one of this machine's clock. Raises ValueError.
    """
    try:
        if _SPAN.fullmatch(text):
            return now - parse_span(text)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{text!r} is neither a span like 2h or 3d nor an ISO time") from exc


def parse_span(text: str) -> timedelta:
    """Return how long `24h` or `90d` is; raise ValueError, also beyond a hundred years."""
    span = _SPAN.fullmatch(text)
    length = None if span is None else timedelta(**{_UNITS[span[2]]: int(span[1])})
    if length is None or length > _LONGEST:
        raise ValueError(f"{text!r} is no span like 24h or 90d, of 100 years at most")
    return length
