import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgsvc.jobs.bodies import MAX_ERROR_LINES, BatchCallback, encode
from imgsvc.jobs.manifest import Item, ItemState, Manifest, looks_like_image
from imgsvc.jobs.models import JobState, Spent
from jobs.parts import JOB_ID

PROCESSED, FALLBACK = ItemState.PROCESSED, ItemState.FALLBACK_LOCAL
OTHER = ItemState.FALLBACK_OTHER
FAILED, SKIPPED = ItemState.FAILED, ItemState.SKIPPED
NOT_STARTED = ItemState.NOT_STARTED
STOPPED = "BudgetSpent: This job has spent it."
DONE, PARTLY = JobState.COMPLETED, JobState.COMPLETED_WITH_ERRORS


def item(state: ItemState, key: str = "input/a.png") -> Item:
    """Return a row as the batch makes it."""
    if state is FAILED:
        return Item(input_key=key, state=state, error="CorruptImage: broken")
    if state is SKIPPED:
        return Item(input_key=key, state=state)
    if state is NOT_STARTED:
        return Item(input_key=key, state=state, error=STOPPED)
    reason = "provider_timeout" if state in {FALLBACK, OTHER} else None
    provider = {PROCESSED: "openai", OTHER: "gateway", FALLBACK: "local"}[state]
    return Item(
        input_key=key,
        output_key=f"output/{key}",
        state=state,
        provider=provider,
        fallback_reason=reason,
        bytes=7,
        seconds=0.5,
    )


def manifest(items: Sequence[Item | ItemState], notes: Sequence[str] = ()) -> Manifest:
    rows = [row if isinstance(row, Item) else item(row) for row in items]
    stopped = any(row.state is NOT_STARTED for row in rows)
    return Manifest(
        job_id=JOB_ID,
        provider="openai",
        output_prefix="output/",
        items=rows,
        notes=list(notes),
        stopped=STOPPED if stopped else None,
    )


def callback(of: Manifest) -> BatchCallback:
    return of.callback(output_bucket="results")


def document(of: Manifest) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(of.to_json())
    return parsed


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], DONE),
        ([PROCESSED], DONE),
        ([PROCESSED, PROCESSED], DONE),
        ([SKIPPED], DONE),
        ([PROCESSED, SKIPPED], DONE),
        ([FALLBACK], PARTLY),
        ([FALLBACK, SKIPPED], PARTLY),
        ([PROCESSED, FALLBACK], PARTLY),
        ([PROCESSED, FAILED], PARTLY),
        ([PROCESSED, FAILED, SKIPPED], PARTLY),
        ([FALLBACK, FAILED], PARTLY),
        ([PROCESSED, FALLBACK, FAILED], PARTLY),
        ([PROCESSED, FALLBACK, FAILED, SKIPPED], PARTLY),
        ([FAILED], JobState.FAILED),
        ([FAILED, FAILED], JobState.FAILED),
        ([FAILED, SKIPPED], JobState.FAILED),
        ([PROCESSED, NOT_STARTED], PARTLY),
        ([FALLBACK, NOT_STARTED, SKIPPED], PARTLY),
        ([NOT_STARTED], JobState.FAILED),
        ([FAILED, NOT_STARTED], JobState.FAILED),
    ],
)
def test_the_state_follows_from_the_items(states: list[ItemState], expected: JobState) -> None:
    of = manifest(states)

    assert of.state is expected
    assert callback(of).status == expected.value
    assert document(of)["status"] == expected.value


@pytest.mark.parametrize(
    ("states", "expected"),
    [([], PARTLY), ([PROCESSED], PARTLY), ([FALLBACK], PARTLY), ([FAILED], JobState.FAILED)],
)
def test_trouble_beside_the_items_is_never_plain_completion(
    states: list[ItemState], expected: JobState
) -> None:
    assert manifest(states, notes=["input/: StorageError: gone"]).state is expected


@given(states=st.lists(st.sampled_from(ItemState)))
def test_the_counters_add_up(states: list[ItemState]) -> None:
    of = manifest(states)
    counters, others = of.counters(), states.count(OTHER)

    assert counters == {
        "total_files": len(states) - states.count(SKIPPED),
        "processed": states.count(PROCESSED),
        "failed": states.count(FAILED) + states.count(NOT_STARTED),
        "fallback_local": states.count(FALLBACK),
        "total_files_processed": states.count(PROCESSED) + states.count(FALLBACK) + others,
    } | ({"fallback_other": others} if others else {})
    assert counters["total_files"] == counters["total_files_processed"] + counters["failed"]
    assert counters.items() <= callback(of).model_dump().items()
    assert counters.items() <= document(of).items()
    done = counters["failed"] == counters["fallback_local"] == others == 0
    assert (of.state is DONE) == done


@given(
    states=st.lists(st.sampled_from(ItemState), max_size=60), notes=st.lists(st.text(), max_size=3)
)
@example(states=[FAILED] * 15 + [SKIPPED] * 6, notes=[])
def test_the_callback_has_at_most_twenty_error_lines_and_the_first_of_all(
    states: list[ItemState], notes: list[str]
) -> None:
    of = manifest(states, notes)

    assert MAX_ERROR_LINES == 20
    assert callback(of).errors == of.error_lines()[:20]
    lines = states.count(FAILED) + states.count(SKIPPED) + len(notes)
    assert len(of.error_lines()) == lines + (NOT_STARTED in states)


def test_failures_are_told_before_what_was_skipped_and_trouble_with_the_bucket_first() -> None:
    of = manifest(
        [item(SKIPPED, "a.txt"), item(FAILED, "b.png"), item(PROCESSED, "c.png")],
        notes=["input/: StorageUnreachable: gone"],
    )

    assert callback(of).errors == [
        "input/: StorageUnreachable: gone",
        "b.png: CorruptImage: broken",
        "a.txt: skipped, not an image",
    ]


def test_a_failed_batch_says_why_in_one_line() -> None:
    body = callback(manifest([item(FAILED, "b.png")]))

    assert body.error == (
        "BatchFailed: no image gave an output. The first reason: CorruptImage: broken"
    )


def test_a_batch_with_outputs_has_no_error_line_of_its_own() -> None:
    assert callback(manifest([PROCESSED, FAILED])).error is None


def test_a_batch_that_was_stopped_says_so_once_however_many_images_are_left() -> None:
    of = manifest([PROCESSED, FAILED, *[NOT_STARTED] * 40])
    body = callback(of)

    assert body.error == STOPPED
    assert body.errors == [
        f"40 of 42 images were not begun: {STOPPED}",
        "input/a.png: CorruptImage: broken",
    ]
    assert (body.failed, body.total_files, body.total_files_processed) == (41, 42, 1)
    assert document(of)["not_started"] == 40


def test_a_batch_that_was_stopped_before_its_first_image_has_failed_for_that_reason() -> None:
    body = callback(manifest([NOT_STARTED, NOT_STARTED]))
    assert (body.status, body.error) == ("failed", STOPPED)


def test_what_the_calls_have_cost_is_in_callback_and_manifest() -> None:
    of = manifest([PROCESSED])
    of.spent = Spent().plus(34_213_000).plus(None)

    assert (callback(of).cost_usd, callback(of).cost_unknown) == (0.034213, True)
    assert (document(of)["cost_usd"], document(of)["cost_unknown"]) == (0.034213, True)


def test_the_callback_has_these_fields_and_no_others() -> None:
    fields = json.loads(b"".join(encode(callback(manifest([PROCESSED])))))

    assert fields.pop("duration_seconds") >= 0
    assert fields == {
        "status": "completed",
        "job_id": JOB_ID,
        "total_files": 1,
        "processed": 1,
        "failed": 0,
        "fallback_local": 0,
        "total_files_processed": 1,
        "output_bucket": "results",
        "output_prefix": "output/",
        "errors": [],
        "provider": "openai",
        "fallback": False,
    }


def test_the_callback_names_the_commonest_reason_to_fall_back() -> None:
    rare = item(FALLBACK)
    rare.fallback_reason = "provider_rate_limited"
    body = callback(manifest([rare, FALLBACK, FALLBACK, PROCESSED]))

    assert (body.fallback, body.fallback_reason) == (True, "provider_timeout")
    assert body.provider == "openai"  # who was asked


def test_the_manifest_has_one_row_an_object_in_key_order() -> None:
    rows = [item(PROCESSED, "c.png"), item(SKIPPED, "b.txt"), item(FAILED, "a.png")]

    assert document(manifest(rows, notes=["a note"])) == {
        "job_id": JOB_ID,
        "status": "completed_with_errors",
        "total_files": 2,
        "processed": 1,
        "failed": 1,
        "fallback_local": 0,
        "total_files_processed": 1,
        "not_started": 0,
        "skipped": 1,
        "notes": ["a note"],
        "items": [
            {
                "input_key": "a.png",
                "state": "failed",
                "error": "CorruptImage: broken",
                "seconds": 0.0,
            },
            {"input_key": "b.txt", "state": "skipped", "seconds": 0.0},
            {
                "input_key": "c.png",
                "state": "processed",
                "output_key": "output/c.png",
                "provider": "openai",
                "bytes": 7,
                "seconds": 0.5,
            },
        ],
    }


@given(keys=st.lists(st.text(), unique=True))
def test_the_manifest_is_valid_json_for_any_key(keys: list[str]) -> None:
    rows = document(manifest([item(FAILED, key) for key in keys]))["items"]

    assert [row["input_key"] for row in rows] == sorted(keys)


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
