import csv
import io
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.jobs import manifest
from imgsvc.jobs.items import Item, ItemEnd, ItemState
from imgsvc.jobs.manifest import COLUMNS, csv_parts, json_parts, looks_like_image, row
from imgsvc.jobs.spent import Spent
from jobs.rows import item

PROCESSED, FALLBACK = ItemState.PROCESSED, ItemState.FALLBACK_LOCAL
FAILED, SKIPPED = ItemState.FAILED, ItemState.SKIPPED


async def pages(items: Sequence[Item], size: int) -> AsyncGenerator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def document(items: Sequence[Item], *, size: int = 2, **head: Any) -> dict[str, Any]:
    parts = [part async for part in json_parts({"job_id": "x", **head}, pages(items, size))]
    parsed: dict[str, Any] = json.loads(b"".join(parts))
    return parsed


async def table(items: Sequence[Item]) -> list[dict[str, str]]:
    text = b"".join([part async for part in csv_parts(pages(items, 2))]).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_the_manifest_has_one_row_an_object_in_the_order_of_the_listing() -> None:
    rows = [item(FAILED, "a.png"), item(SKIPPED, "b.txt"), item(PROCESSED, "c.png")]

    assert await document(rows, notes=["a note"]) == {
        "job_id": "x",
        "notes": ["a note"],
        "items": [
            {
                "input_key": "a.png",
                "state": "failed",
                "error": "CorruptImage: broken",
                "attempts": 1,
                "seconds": 0.5,
            },
            {"input_key": "b.txt", "state": "skipped", "seconds": 0.0},
            {
                "input_key": "c.png",
                "state": "processed",
                "output_key": "output/c.png",
                "provider": "openai",
                "bytes": 7,
                "attempts": 1,
                "seconds": 0.5,
            },
        ],
    }


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
async def test_the_manifest_is_whole_however_many_pages_it_is_read_in(count: int) -> None:
    rows = [item(PROCESSED, f"{number}.png") for number in range(count)]
    keys = [f"{number}.png" for number in range(count)]
    assert [each["input_key"] for each in (await document(rows))["items"]] == keys
    assert [each["input_key"] for each in await table(rows)] == keys


@given(keys=st.lists(st.text(st.characters(codec=None)), max_size=5))
async def test_both_manifests_can_be_read_for_any_key(keys: list[str]) -> None:
    rows = [item(FAILED, key) for key in keys]
    expected = [key.encode(errors="backslashreplace").decode() for key in keys]
    assert [each["input_key"] for each in (await document(rows))["items"]] == expected
    lines = await table(rows)
    assert [line["input_key"].removeprefix("'") for line in lines] == [
        key.removeprefix("'") for key in expected
    ]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
async def test_a_spreadsheet_runs_nothing_of_the_table(first: str) -> None:
    end = ItemEnd(state=FALLBACK, ignored=(f"{first}HYPERLINK()", "word"))
    key = f"{first}cmd|' /C calc'!A0.png"
    [line] = await table([replace(item(FALLBACK, key), end=end)])
    assert (line["input_key"], line["ignored"]) == (f"'{key}", f"'{first}HYPERLINK(); word")


async def test_the_table_has_the_same_values_as_the_document() -> None:
    end = ItemEnd(
        state=FALLBACK,
        output_key="out",
        provider="local",
        fallback_reason="provider_timeout",
        operations=("rotate 90", "blur 2"),
        ignored=(),
        bytes=9,
        seconds=1.25,
        spent=Spent().plus(None),
    )
    start = datetime(2026, 11, 24, 3, 12, 41, 260412, UTC)
    each = Item(
        number=1,
        key='a,\n"b".png',
        size=1,
        output="out",
        attempts=2,
        interruptions=0,
        started_at=start,
        finished_at=start.replace(microsecond=0, second=42),
        end=end,
    )

    [found] = await table([each])
    assert tuple(found) == COLUMNS
    assert set(row(each)) <= set(COLUMNS)
    assert found == {
        "input_key": 'a,\n"b".png',
        "state": "fallback_local",
        "output_key": "out",
        "provider": "local",
        "model": "",
        "fallback_reason": "provider_timeout",
        "operations": "rotate 90; blur 2",
        "ignored": "",
        "error": "",
        "bytes": "9",
        "attempts": "2",
        "started_at": "2026-11-24T03:12:41.260412Z",
        "finished_at": "2026-11-24T03:12:42Z",
        "seconds": "1.25",
        "cost_usd": "0.0",
        "cost_unknown": "true",
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.png", True),
        ("a.PNG", True),
        ("a.JpEg", True),
        ("folder/a.jpg", True),
        ("folder.d/a.webp", True),
        ("a.b.tiff", True),
        ("a.tif", True),
        ("a.gif", True),
        ("a.bmp", True),
        ("a.avif", True),
        ("a.heic", True),
        ("a.HEIF", True),
        ("a.jfif", True),
        ("a b.png", True),
        ("a.txt", False),
        ("a.svg", False),
        ("a.pdf", False),
        ("manifest.json", False),
        ("a.TXT", False),
        ("a.rtf", False),
        ("a.ico", False),
        ("a.mp4", False),
        ("a.zip", False),
        ("a.png.gz", False),
        ("a.tgz", False),
        ("folder.png/a.txt", False),
        ("http://x/a.txt", False),
        ("data:image/png,a.txt", False),
        ("IMG.2024-01-01", None),
        ("a.png.bak", None),
        ("a.", None),
        ("a", None),
        ("folder.png/a", None),
        (".png", None),
        ("folder/.png", None),
    ],
)
def test_the_extension_says_whether_a_name_speaks_for_an_image(
    key: str, expected: bool | None
) -> None:
    assert looks_like_image(key) is expected


@given(st.text())
def test_any_name_can_be_asked_about(key: str) -> None:
    assert looks_like_image(f"folder/x.{key}") in {True, False, None}


async def test_a_table_makes_each_row_once_however_many_columns_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Item] = []

    def count(each: Item) -> dict[str, Any]:
        made.append(each)
        return row(each)

    monkeypatch.setattr(manifest, "row", count)
    rows = [item(PROCESSED, "a.png"), item(FAILED, "b.png"), item(SKIPPED, "c.txt")]
    assert len(await table(rows)) == 3
    assert made == rows
