import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgsvc.jobs.bodies import MAX_ERROR_LINES, BatchCallback, encode
from imgsvc.jobs.items import Item, ItemState
from imgsvc.jobs.models import JobState
from imgsvc.jobs.spent import Spent
from imgsvc.jobs.summary import Summary
from jobs.parts import JOB_ID, batch_spec, make_job
from jobs.rows import STOPPED, item, sums

PROCESSED, FALLBACK = ItemState.PROCESSED, ItemState.FALLBACK_LOCAL
OTHER = ItemState.FALLBACK_OTHER
FAILED, SKIPPED = ItemState.FAILED, ItemState.SKIPPED
NOT_STARTED = ItemState.NOT_STARTED
ENDS = [PROCESSED, FALLBACK, OTHER, FAILED, SKIPPED, NOT_STARTED]
DONE, PARTLY = JobState.COMPLETED, JobState.COMPLETED_WITH_ERRORS


def summary(items: Sequence[Item | ItemState], notes: Sequence[str] = ()) -> Summary:
    rows = [row if isinstance(row, Item) else item(row) for row in items]
    return Summary(
        job=make_job(batch_spec()),
        provider="openai",
        output_prefix="output/",
        sums=sums(rows),
        notes=tuple(notes),
        spent=Spent(),
        seconds=1.5,
    )


def callback(of: Summary) -> BatchCallback:
    return of.callback(output_bucket="results")


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
    of = summary(states)

    assert of.state is expected
    assert callback(of).status == expected.value
    assert of.head["status"] == expected.value


@pytest.mark.parametrize(
    ("states", "expected"),
    [([], PARTLY), ([PROCESSED], PARTLY), ([FALLBACK], PARTLY), ([FAILED], JobState.FAILED)],
)
def test_trouble_beside_the_items_is_never_plain_completion(
    states: list[ItemState], expected: JobState
) -> None:
    assert summary(states, notes=["input/: StorageError: gone"]).state is expected


@given(states=st.lists(st.sampled_from(ENDS)))
def test_the_counters_add_up(states: list[ItemState]) -> None:
    of = summary(states)
    counters, others = of.counters, states.count(OTHER)

    assert counters == {
        "total_files": len(states) - states.count(SKIPPED),
        "processed": states.count(PROCESSED),
        "failed": states.count(FAILED) + states.count(NOT_STARTED),
        "fallback_local": states.count(FALLBACK),
        "total_files_processed": states.count(PROCESSED) + states.count(FALLBACK) + others,
    } | ({"fallback_other": others} if others else {})
    assert counters["total_files"] == counters["total_files_processed"] + counters["failed"]
    assert counters.items() <= callback(of).model_dump().items()
    assert counters.items() <= of.head.items()
    done = counters["failed"] == counters["fallback_local"] == others == 0
    assert (of.state is DONE) == done


@given(states=st.lists(st.sampled_from(ENDS), max_size=60), notes=st.lists(st.text(), max_size=3))
@example(states=[FAILED] * 15 + [SKIPPED] * 6, notes=[])
def test_the_callback_has_at_most_twenty_error_lines_and_the_first_of_all(
    states: list[ItemState], notes: list[str]
) -> None:
    of = summary(states, notes)

    assert MAX_ERROR_LINES == 20
    lines = states.count(FAILED) + states.count(SKIPPED) + len(notes) + (NOT_STARTED in states)
    assert len(callback(of).errors) == min(lines, 20)
    assert callback(of).errors[: len(notes)] == notes


def test_failures_are_told_before_what_was_skipped_and_trouble_with_the_bucket_first() -> None:
    of = summary(
        [item(SKIPPED, "a.txt"), item(FAILED, "b.png"), item(PROCESSED, "c.png")],
        notes=["input/: StorageUnreachable: gone"],
    )

    assert callback(of).errors == [
        "input/: StorageUnreachable: gone",
        "b.png: CorruptImage: broken",
        "a.txt: skipped, not an image",
    ]


def test_a_failed_batch_says_why_in_one_line() -> None:
    body = callback(summary([item(FAILED, "b.png")]))

    assert body.error == (
        "BatchFailed: no image gave an output. The first reason: CorruptImage: broken"
    )


def test_a_batch_with_outputs_has_no_error_line_of_its_own() -> None:
    assert callback(summary([PROCESSED, FAILED])).error is None


def test_a_batch_that_was_stopped_says_so_once_however_many_images_are_left() -> None:
    of = summary([PROCESSED, FAILED, *[NOT_STARTED] * 40])
    body = callback(of)

    assert body.error == STOPPED
    assert body.errors == [
        f"40 of 42 images were not begun: {STOPPED}",
        "input/a.png: CorruptImage: broken",
    ]
    assert (body.failed, body.total_files, body.total_files_processed) == (41, 42, 1)
    assert of.head["not_started"] == 40


def test_a_batch_that_was_stopped_before_its_first_image_has_failed_for_that_reason() -> None:
    body = callback(summary([NOT_STARTED, NOT_STARTED]))
    assert (body.status, body.error) == ("failed", STOPPED)


def test_what_the_calls_have_cost_is_in_callback_and_summary() -> None:
    of = replace(summary([PROCESSED]), spent=Spent().plus(34_213_000).plus(None))

    assert (callback(of).cost_usd, callback(of).cost_unknown) == (0.034213, True)
    assert (of.head["cost_usd"], of.head["cost_unknown"]) == (0.034213, True)


def test_the_callback_has_these_fields_and_no_others() -> None:
    fields = json.loads(b"".join(encode(callback(summary([PROCESSED])))))

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
    rare = item(FALLBACK, reason="provider_rate_limited")
    body = callback(summary([rare, FALLBACK, FALLBACK, PROCESSED]))

    assert (body.fallback, body.fallback_reason) == (True, "provider_timeout")
    assert body.provider == "openai"  # who was asked
