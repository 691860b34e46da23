"""Taking secrets out of texts that others have a hand in."""

from collections.abc import Iterable, Sequence

REDACTED = "[redacted]"

SHORTEST = 6
"""Characters of a secret that is looked for: shorter ones would tear holes into innocent words."""


def longest_first(secrets: Iterable[str]) -> list[str]:
    """Return those that are looked for, the longest first: one may be a part of another."""
    return sorted((each for each in secrets if len(each) >= SHORTEST), key=len, reverse=True)


def without(text: str, secrets: Sequence[str], *, mark: str = REDACTED) -> str:
    """Return a text with a mark in place of each secret; they come from `longest_first`."""
    for secret in secrets:
        text = text.replace(secret, mark)
    return text
