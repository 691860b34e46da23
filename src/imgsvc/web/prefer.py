"""The header `Prefer` (RFC 7240): how a caller would like to be answered."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_WAIT = 60
"""Seconds that an answer is held back at most."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110, section 5.6.2
# A string that never ends goes on to the end: what follows cannot be told apart from it.
_STRING = r'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)'
_ELEMENT = re.compile(rf'(?:{_STRING}|[^",])+', re.DOTALL)
_PREFERENCE = re.compile(
    rf"[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|\"([^\"\\]*)\"))?[ \t]*(?:;|\Z)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """What the caller prefers, of all that this server knows."""

    respond_async: bool = False
    wait: int | None = None  # seconds, at most MAX_WAIT

    @property
    def without_callback(self) -> bool:
        """Whether the caller comes for the result, or waits for it, and need not be called."""
        return self.respond_async or self.wait is not None

    @property
    def headers(self) -> dict[str, str]:
        """The header `Preference-Applied`, if there is anything to say in it."""
        applied = ["respond-async"] if self.respond_async else []
        applied += [f"wait={self.wait}"] if self.wait is not None else []
        return {"Preference-Applied": ", ".join(applied)} if applied else {}


def parse_prefer(values: Iterable[str]) -> Preferences:
    """Return what the headers `Prefer` of a request say; several count as one.

    Of a preference that comes more than once the first counts. What is unknown or
    malformed is ignored, as the RFC wants it, and so are parameters: none is defined for
    the two that are known.
    """
    found: dict[str, str] = {}
    for value in values:
        for element in _ELEMENT.findall(value):
            if (preference := _PREFERENCE.match(element)) is not None:
                name, token, string = preference.groups(default="")
                found.setdefault(name.lower(), token or string)
    return Preferences(
        # No value and an empty one are the same; with any other it is something else.
        respond_async=found.get("respond-async") == "",
        wait=_seconds(found.get("wait", "")),
    )


def _seconds(value: str) -> int | None:
    """Return the number that value is, or None if it is none; a long one is no trouble."""
    if re.fullmatch(r"[0-9]+", value) is None:
        return None
    return int(min(float(value), MAX_WAIT))
