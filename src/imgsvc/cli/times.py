"""Points in time as they are typed."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")


def parse_since(text: str, now: datetime) -> datetime:
    """Return the time that is meant, in UTC: `2h`, `3d` before now, or an ISO 8601 time.

    A time without an offset is one of this machine's clock. Raises ValueError.
    """
    try:
        if span := _SPAN.fullmatch(text):
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{text!r} is neither a span like 2h or 3d nor an ISO time") from exc
