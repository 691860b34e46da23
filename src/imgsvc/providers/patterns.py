"""Finds many patterns in a text, in a time that grows with the text alone.

RE2 never goes back in a text, so no pattern makes it slow in the way that Python's own
`re` can be, and it looks for all patterns at once: 32,000 characters take some
milliseconds for thousands of words. The price are look-arounds and back-references.
Syntax: https://github.com/google/re2/wiki/Syntax
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import re2  # type: ignore[import-untyped]  # the package carries no types

from imgsvc.errors import ConfigurationError

_BLOCK = 500
"""Patterns compiled together: that holds the interpreter lock, for about 5 ms then."""

_BLOCK_MEMORY = 16 * 2**20
"""Bytes that a block may take up once compiled, and while it searches."""

_MAX_PROBLEMS = 20

_MAX_MARKS = 30
"""Combining marks in a row that are looked at, as many as Unicode's stream-safe format has.
Putting them in order takes a time that grows with their square: 32,000 of them, over a second
in which nothing else runs."""

_LITERAL = re.compile(r"[^\\.+*?()|\[\]{}^$]+")

_BOUNDARY = re.compile(r"(?<!\\)(?:\\\\)*\\[bB]")


class Patterns:
    """Regular expressions by the number of their line; safe to use from many threads."""

    def __init__(self, lines: Mapping[int, str], *, place: str) -> None:
        """Compile them; raise ConfigurationError with every line that is wrong.

        `place` is what has these lines, in the words of a message.
        """
        wrong = [
            f"line {number} of {place}: {problem}"
            for number, pattern in lines.items()
            if (problem := _what_is_wrong(pattern)) is not None
        ]
        if wrong:
            more = [f"and {len(wrong) - _MAX_PROBLEMS} more"] if len(wrong) > _MAX_PROBLEMS else []
            raise ConfigurationError(wrong[:_MAX_PROBLEMS] + more)
        self._blocks: list[tuple[list[int], Any]] = []
        for block in _portions(lines):
            numbers = list(block)
            try:
                self._blocks.append((numbers, _compile(block)))
            except re2.error as exc:
                problem = f"lines {numbers[0]} to {numbers[-1]} of {place}: too large together"
                raise ConfigurationError([problem]) from exc

    def __len__(self) -> int:
        return sum(len(numbers) for numbers, _ in self._blocks)

    def find(self, text: str) -> int | None:
        """Return the first line, or one of the first, whose pattern is in the text.

        Run it in a thread: the search does not hold the interpreter lock. To fold a text holds
        it, for 10 ms as a rule and 60 ms at worst with 32,000 characters; ASCII is not folded.
        """
        forms = [text.encode()] if text.isascii() else [text.encode(), folded(text).encode()]
        for numbers, block in self._blocks:
            first = min(min(_search(block, form)) for form in forms)
            if first < len(numbers):
                return numbers[first]
        return None


def folded(text: str) -> str:
    """Return text in the form in which characters that mean the same are the same.

    That is Unicode's NFKC, without regard to case: full-width letters become plain ones, and
    a letter and its marks one character. Of many marks in a row the first 30 are kept. ASCII
    stays as it is, but for its case.
    """
    kept, marks = [], 0
    for character in text:
        is_mark = unicodedata.combining(unicodedata.normalize("NFKD", character)[0])
        marks = marks + 1 if is_mark else 0
        if marks <= _MAX_MARKS:
            kept.append(character)
    return unicodedata.normalize("NFKC", "".join(kept)).casefold()


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False  # to stderr
    options.max_mem = _BLOCK_MEMORY
    return options


def _what_is_wrong(pattern: str) -> str | None:
    try:
        compiled = re2.compile(pattern, _options())
    except re2.error as exc:
        return str(exc.args[0].decode(errors="replace"))
    if compiled.search(b"") is not None:
        return "it is found in an empty text, and so in every prompt"
    if not pattern.isascii() and _BOUNDARY.search(pattern):
        return (
            r"\b takes letters beyond ASCII for no letters, and would not find the word:"
            r" write (^|\PL) in front of it and (\PL|$) behind it"
        )
    return None


def _portions(lines: Mapping[int, str]) -> Iterator[dict[int, str]]:
    items = iter(lines.items())
    while block := dict(islice(items, _BLOCK)):
        yield block


def _compile(block: Mapping[int, str]) -> Any:
    """Return a set of RE2 that also has, behind the patterns, one that is in every text."""
    compiled = re2.Set.SearchSet(_options())
    for pattern in (*map(_with_folded, block.values()), ""):
        compiled.Add(pattern)
    compiled.Compile()
    _search(compiled, b"")
    return compiled


def _with_folded(pattern: str) -> str:
    """Return a pattern that is found in the folded text too, if it is a mere word."""
    if pattern.isascii() or not _LITERAL.fullmatch(pattern):
        return pattern
    return f"{pattern}|{re2.escape(folded(pattern))}"


def _search(block: Any, text: bytes) -> list[int]:
    """Return which patterns are in the text, the one that always is included.

    Raises re2.error if RE2 had too little memory to look, of which it says nothing itself.
    """
    found: list[int] | None = block.Match(text)
    if not found:
        raise re2.error("out of memory")
    return found
