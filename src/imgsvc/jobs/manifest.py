"""What became of every object of a batch, as its manifests show it, row by row."""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from mimetypes import MimeTypes
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from imgsvc.jobs.items import Item

IMAGE_EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".avif", ".heic", ".heif"}
)

# Python's own table alone: the machine's would decide otherwise on another machine.
_TYPES = MimeTypes()


def looks_like_image(key: str) -> bool | None:
    """Say by the extension of an object's name whether it is an image.

    True is one of IMAGE_EXTENSIONS. False is one of another known type, text or video say,
    or of a picture that is never taken, SVG or ICO: not worth a download. None is an
    unknown extension or none at all, as in `IMG.2024-01-01`: the first bytes must tell.
    """
    extension = PurePosixPath(key).suffix
    if extension.lower() in IMAGE_EXTENSIONS:
        return True
    known = _TYPES.guess_type(f"name{extension}", strict=False)
    return None if known == (None, None) else False


_FORMULA = ("=", "+", "-", "@", "\t", "\r")

COLUMNS = (
    *("input_key", "state", "output_key", "provider", "model", "fallback_reason", "operations"),
    *("ignored", "error", "bytes", "attempts", "started_at", "finished_at", "seconds"),
    *("cost_usd", "cost_unknown"),
)
"""The fields of a row, in order."""

Rows = AsyncGenerator[Sequence[Item]]
"""The items of a batch in order, some at a time."""


def shown(key: str) -> str:
    """Return the key as JSON can hold it; a file's name may have bytes that are not UTF-8."""
    return key.encode(errors="backslashreplace").decode()


def row(item: Item) -> dict[str, Any]:
    """Return the row of an item; a field without a value is left out."""
    end = item.end
    fields = {
        "input_key": shown(item.key),
        "state": end.state.value,
        "output_key": end.output_key,
        "provider": end.provider,
        "model": end.model,
        "fallback_reason": end.fallback_reason,
        "operations": end.operations,
        "ignored": end.ignored,
        "error": end.error,
        "bytes": end.bytes,
        "attempts": item.attempts or None,
        "started_at": _time(item.started_at),
        "finished_at": _time(item.finished_at),
        "seconds": end.seconds,
        "cost_usd": end.spent.usd,
        "cost_unknown": end.spent.is_unknown or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


async def json_parts(head: Mapping[str, Any], rows: Rows) -> AsyncGenerator[bytes]:
    """Yield manifest.json: the head's fields, and `items` with a line for each row."""
    yield orjson.dumps(head, option=orjson.OPT_INDENT_2).removesuffix(b"\n}") + b',\n  "items": ['
    is_first = True
    async for items in rows:
        lines = b",".join(b"\n    " + orjson.dumps(row(item)) for item in items)
        yield lines if is_first else b"," + lines
        is_first = False
    yield b"]\n}\n" if is_first else b"\n  ]\n}\n"


async def csv_parts(rows: Rows) -> AsyncGenerator[bytes]:
    """Yield manifest.csv: a line of names and one for each row.

    Lists have `; ` between words, and what a spreadsheet takes for a formula a `'` in front.
    """
    yield _csv([COLUMNS])
    async for items in rows:
        made = map(row, items)
        yield _csv([[_cell(fields.get(name)) for name in COLUMNS] for fields in made])


async def write_file(path: Path, parts: AsyncGenerator[bytes]) -> None:
    """Write a file part by part. Raises OSError."""
    async with aclosing(parts):
        with await asyncio.to_thread(path.open, "wb") as file:
            async for part in parts:
                await asyncio.to_thread(file.write, part)


def _csv(lines: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return _text("; ".join(value))
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    """Return the text so that no spreadsheet runs it: keys and prompts come from anybody."""
    return f"'{text}" if text.startswith(_FORMULA) else text
