import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from imgsvc.imaging.pool import ImagePool
from imgsvc.jobs.models import EventType
from imgsvc.web.job_view import job_view
from jobs.error_table import UNREACHABLE, Bench, open_bench

pytestmark = pytest.mark.asyncio(loop_scope="session")

MONEY = (
    "billing_hard_limit_reached",
    "billing_not_active",
    "credit_balance_exhausted",
    "insufficient_quota",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
)

# The failure; calls made; waits before those made again; the error; the breaker afterwards;
# whether what it cost is unknown.
FALLS_BACK = [
    *((code, 1, [], "ProviderOutOfCredit", "open", False) for code in MONEY),
    ("rate_limit_exceeded", 6, [12] * 5, "ProviderRateLimited", "closed", False),
    ("slow_down", 6, [3] * 5, "ProviderRateLimited", "closed", False),
    ("invalid_api_key", 1, [], "ProviderKeyRejected", "open", False),
    ("organization_not_verified", 1, [], "ProviderAccessDenied", "open", False),
    ("model_not_found", 1, [], "ProviderModelNotFound", "open", False),
    ("server_error", 2, [1], "ProviderServerError", "closed", False),
    ("server_is_overloaded", 2, [1], "ProviderServerError", "closed", False),
    ("gateway_html", 2, [1], "ProviderServerError", "closed", False),
    (UNREACHABLE, 2, [1], "ProviderUnreachable", "closed", False),
    ("hang", 1, [], "ProviderTimeout", "closed", True),
    ("disconnect", 1, [], "ProviderConnectionLost", "closed", True),
    ("disconnect_mid_answer", 1, [], "ProviderConnectionLost", "closed", True),
    ("web_page", 1, [], "ProviderBadAnswer", "closed", True),
]
FAILS = [
    ("moderation_blocked", "ProviderRefusedContent"),
    ("content_policy_violation", "ProviderRefusedContent"),
    ("invalid_image_file", "ProviderRefusedImage"),
    ("invalid_image", "ProviderRefusedImage"),
    ("unknown_parameter", "ProviderRefusedParameter"),
    ("invalid_value", "ProviderRefusedParameter"),
]
CODES = {
    "ProviderAccessDenied": "provider_access_denied",
    "ProviderBadAnswer": "provider_bad_answer",
    "ProviderConnectionLost": "provider_connection_lost",
    "ProviderKeyRejected": "provider_key_rejected",
    "ProviderModelNotFound": "provider_model_not_found",
    "ProviderOutOfCredit": "provider_out_of_credit",
    "ProviderRateLimited": "provider_rate_limited",
    "ProviderServerError": "provider_server_error",
    "ProviderTimeout": "provider_timeout",
    "ProviderUnreachable": "provider_unreachable",
}

each_that_falls_back = pytest.mark.parametrize(
    ("failure", "calls", "waits", "error", "breaker", "cost_unknown"),
    FALLS_BACK,
    ids=[str(row[0]) for row in FALLS_BACK],
)


@pytest_asyncio.fixture(loop_scope="session")
async def bench(tmp_path: Path, pool: ImagePool) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, pool) as opened:
        yield opened


@each_that_falls_back
async def test_the_local_engine_steps_in_after_these_calls_and_waits(
    bench: Bench,
    failure: str,
    calls: int,
    waits: list[float],
    error: str,
    breaker: str,
    cost_unknown: bool,
) -> None:
    seen = await bench.edit(failure)

    assert (seen.calls, seen.waits, seen.breaker) == (calls, waits, breaker)
    assert len(bench.standin.calls) == (0 if failure == UNREACHABLE else calls)
    shown = ("status", "provider", "fallback", "fallback_reason")
    assert tuple(seen.callback.get(name) for name in shown) == (
        "completed",
        "local",
        True,
        CODES[error],
    )
    assert "error" not in seen.callback
    assert seen.cost_unknown is cost_unknown
    assert job_view(seen.job, "").get("cost_unknown", False) is cost_unknown


@pytest.mark.slow
@each_that_falls_back
async def test_without_a_fallback_the_job_fails_after_the_same_calls_and_waits(
    bench: Bench,
    failure: str,
    calls: int,
    waits: list[float],
    error: str,
    breaker: str,
    cost_unknown: bool,
) -> None:
    seen = await bench.edit(failure, fallback_allowed=False)

    assert (seen.calls, seen.waits, seen.breaker) == (calls, waits, breaker)
    assert seen.callback["error"].startswith(f"{error}: ")
    assert {key: seen.callback[key] for key in seen.callback if key != "error"} == {
        "status": "failed",
        "job_id": seen.job.id,
        "filename": "a.png",
        "provider": "openai",
        "fallback": False,
        "cost_usd": 0.0,
    } | ({"cost_unknown": True} if cost_unknown else {})
    assert seen.cost_unknown is cost_unknown


@pytest.mark.parametrize(("failure", "error"), FAILS)
async def test_a_request_at_fault_fails_at_once(bench: Bench, failure: str, error: str) -> None:
    seen = await bench.edit(failure)

    assert (seen.calls, seen.waits, seen.breaker) == (1, [], "closed")
    assert (seen.callback["status"], seen.callback["provider"]) == ("failed", "openai")
    assert seen.callback["error"].startswith(f"{error}: ")
    assert seen.cost_unknown is False


async def test_what_moderation_objects_to_is_told_in_the_callback_the_job_and_its_story(
    bench: Bench,
) -> None:
    seen = await bench.edit("moderation_blocked")

    assert "(model gpt-image-2, " in seen.callback["error"]
    assert ", categories sexual, violence, " in seen.callback["error"]
    assert seen.callback["moderation_categories"] == ["sexual", "violence"]
    assert job_view(seen.job, "")["moderation_categories"] == ["sexual", "violence"]
    story = await bench.backend.events(seen.job.id, after=0, limit=100)
    [called] = [event.data for event in story if event.type is EventType.PROVIDER_CALLED]
    assert (called["error"], called["moderation_categories"]) == (
        "provider_refused_content",
        ["sexual", "violence"],
    )


@pytest.mark.parametrize("failure", ["content_policy_violation", "invalid_image_file"])
async def test_without_categories_nothing_is_told_of_them(bench: Bench, failure: str) -> None:
    seen = await bench.edit(failure)

    assert "categories" not in str(seen.callback)
    assert "moderation_categories" not in job_view(seen.job, "")
    story = await bench.backend.events(seen.job.id, after=0, limit=100)
    assert not any("categories" in event.data for event in story)


async def test_the_manifest_tells_what_moderation_objects_to_in_which_image(bench: Bench) -> None:
    seen = await bench.edit_batch(2, "moderation_blocked", works=1, concurrency=1)

    edited, refused = seen.manifest["items"]
    assert "error" not in edited
    assert ", categories sexual, violence, " in refused["error"]
    assert seen.callback["errors"] == [f"{refused['input_key']}: {refused['error']}"]


@pytest.mark.parametrize(
    ("failure", "waits", "code"),
    [
        ("rate_limit_exceeded", [12] * 5, "provider_rate_limited"),
        ("server_error", [1], "provider_server_error"),
    ],
)
async def test_the_last_repetition_can_still_make_the_picture(
    bench: Bench, failure: str, waits: list[float], code: str
) -> None:
    seen = await bench.edit(failure, times=len(waits))

    assert (seen.calls, seen.waits) == (len(waits) + 1, waits)
    assert (seen.callback["provider"], seen.callback["fallback"]) == ("openai", False)
    story = await bench.backend.events(seen.job.id, after=0, limit=100)
    assert [event.data for event in story if event.type is EventType.PROVIDER_RETRY] == [
        {"provider": "openai", "error": code, "wait": wait} for wait in waits
    ]


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_wait_that_does_not_fit_into_the_job_s_time_is_not_begun(
    bench: Bench, allowed: bool
) -> None:
    seen = await bench.edit("rate_limit_exceeded", job_timeout=20, fallback_allowed=allowed)

    assert (seen.calls, seen.waits) == (1, [])
    if allowed:
        assert seen.callback["fallback_reason"] == "provider_rate_limited"
    else:
        assert seen.callback["error"].startswith("ProviderRateLimited: ")


async def test_a_call_that_the_job_s_deadline_cuts_off_may_have_been_billed(bench: Bench) -> None:
    seen = await bench.edit("hang", job_timeout=0.3, fallback_allowed=False)

    assert seen.callback["error"].startswith("ProviderTimeout: ")
    assert seen.cost_unknown is True


@pytest.mark.parametrize("images", [40, pytest.param(1000, marks=pytest.mark.slow)])
async def test_a_batch_on_an_empty_account_makes_no_more_calls_than_it_has_images_in_work(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    # Without the disk's syncs, which are what takes the time.
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    seen = await bench.edit_batch(images, "insufficient_quota", works=0, concurrency=8)

    # Probes are due 30 and 90 s after the first refusal, and so on.
    assert len(bench.standin.calls) == seen.calls <= 8 + seen.seconds // 30
    assert (seen.callback["status"], seen.callback["fallback_local"]) == (
        "completed_with_errors",
        images,
    )
    assert {row["fallback_reason"] for row in seen.manifest["items"]} == {"provider_out_of_credit"}


async def test_a_batch_that_reaches_the_limit_keeps_what_was_edited_and_says_what_was_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    seen = await bench.edit_batch(60, "billing_hard_limit_reached", works=20, concurrency=4)

    assert 20 < len(bench.standin.calls) <= 20 + 4 + seen.seconds // 30
    assert (seen.callback["processed"], seen.callback["fallback_local"]) == (20, 40)
    assert seen.callback["fallback_reason"] == "provider_out_of_credit"
    assert [row["provider"] for row in seen.manifest["items"]].count("openai") == 20


async def test_the_manifest_marks_the_images_that_may_have_been_billed_for_nothing(
    bench: Bench,
) -> None:
    seen = await bench.edit_batch(3, "disconnect", works=2, concurrency=1)

    assert [row.get("cost_unknown") for row in seen.manifest["items"]] == [None, None, True]
    assert seen.cost_unknown is True
