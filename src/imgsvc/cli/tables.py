"""Jobs and sums as lines of text for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WIDEST = 60
"""Characters of a cell in a table; `show` has the whole value."""

Json = Mapping[str, Any]


def jobs_table(jobs: Sequence[Json]) -> str:
    """Return one line a job below a line of titles."""
    titles = ("JOB", "KIND", "STATE", "ACCEPTED", "ATTEMPTS", "CALLBACK", "ERROR")
    return table(titles, [_columns(job) for job in jobs])


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a line of titles, and one line a row below it."""
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def details(document: Json) -> str:
    """Return a line a field; what is inside of a field is indented below it."""
    return "\n".join(_lines(document, ""))


def plain(value: object) -> str:
    """Return a value as text that cannot steer a terminal."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _columns(job: Json) -> tuple[Any, ...]:
    callback = job.get("callback")
    state = callback.get("state") if isinstance(callback, dict) else None
    return (
        job.get("job_id"),
        job.get("kind"),
        job.get("state"),
        job.get("accepted_at"),
        job.get("attempts"),
        state,
        job.get("error"),
    )


def _cell(value: object) -> str:
    text = plain(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _lines(document: Json, indent: str) -> Iterator[str]:
    for name, value in document.items():
        if value == []:
            continue
        title = f"{indent}{plain(name)}:"
        entries = value if isinstance(value, list) else [value]
        if not any(isinstance(entry, dict) for entry in entries):
            yield f"{title} {', '.join(map(plain, entries))}".rstrip()
            continue
        for entry in entries:
            yield title
            yield from _lines(entry if isinstance(entry, dict) else {"": entry}, f"{indent}  ")
