"""Glob patterns for the paths of objects, matched in a time that grows with the path alone.

They become one regular expression of RE2, which never goes back in a text, so no pattern makes
it slow in the way that Python's own `fnmatch` can be.
"""

import re
from collections.abc import Iterator, Sequence

import re2  # type: ignore[import-untyped]  # the package carries no types

_TOKEN = re.compile(
    r"(?P<folders>(?<![^/])(?:\*\*+/)+)|(?P<all>\*\*+)|(?P<some>\*)|(?P<one>\?)"
    r"|\[(?P<negated>!?)(?P<members>\]?[^\]]*)\]|(?P<plain>.)",
    re.DOTALL,
)

_MEMORY = 64 * 2**20
"""Bytes that patterns may take up once compiled: more than the worst of a batch do."""


class Globs:
    """Patterns; each has to fit all of a path, upper and lower case apart.

    `*` stands for any characters but a slash, `?` for one, `[...]` for one of these, and
    `[!...]` for one other; `**` also for slashes, and `**/` for any folders or none. All else
    stands for itself.

    Raises ValueError, which says how to mend it, for a pattern that is wrong.
    """

    __slots__ = ("_compiled",)

    def __init__(self, patterns: Sequence[str]) -> None:
        options = re2.Options()
        options.max_mem = _MEMORY
        options.dot_nl = True
        options.never_capture = True
        options.log_errors = False  # to stderr
        branches = "|".join(f"(?:{_translated(pattern)})" for pattern in patterns)
        self._compiled = re2.compile(branches, options)

    def match(self, path: str) -> bool:
        """Tell whether a pattern fits; a byte that is not UTF-8 is a character of its own."""
        return self._compiled.fullmatch(path.encode(errors="replace")) is not None


def _translated(pattern: str) -> str:
    if not pattern:
        raise ValueError("an empty pattern fits nothing: leave it out")
    if pattern.startswith("/"):
        raise ValueError(f"{pattern!r}: paths begin without a slash: leave out the first one")
    if pattern.endswith("/"):
        raise ValueError(f"{pattern!r}: for all that is in a folder, write ** at its end")
    return "".join(_tokens(pattern))


def _tokens(pattern: str) -> Iterator[str]:
    for token in _TOKEN.finditer(pattern):
        match token.lastgroup:
            case "folders":
                yield "(?:.*/)?"
            case "all":
                yield ".*"
            case "some":
                yield "[^/]*"
            case "one":
                yield "[^/]"
            case "members":
                members = "".join(_members(pattern, token["members"]))
                yield f"[^/{members}]" if token["negated"] else f"[{members}]"
            case _:
                if token[0] == "[":
                    raise ValueError(f"{pattern!r}: [ has no ]: write [[] for the character")
                yield re2.escape(token[0])


def _members(pattern: str, members: str) -> Iterator[str]:
    if not members:
        raise ValueError(f"{pattern!r}: [] names no character: put some between the brackets")
    if "/" in members:
        raise ValueError(f"{pattern!r}: a slash cannot stand in brackets: write it outside")
    if members.startswith("^"):
        raise ValueError(f"{pattern!r}: for all but some characters write [!...], not [^...]")
    for first, last in re.findall(r"(.)(?:-(.))?", members, re.DOTALL):
        if not last:
            yield re2.escape(first)
        elif first > last:
            raise ValueError(f"{pattern!r}: {first}-{last} is backwards: write {last}-{first}")
        elif first < "/" < last:
            yield f"{re2.escape(first)}-.0-{re2.escape(last)}"  # all but the slash between
        else:
            yield f"{re2.escape(first)}-{re2.escape(last)}"
