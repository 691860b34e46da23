"""What a caller sees of costs and budgets, of the real server and the stand-in."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.config import Settings
from imgsvc.jobs.models import JobFilter
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import picture
from standins.service import Caller, running_service, service_settings
from web.refusals import PATHS, PHOTO, assert_problem
from web.submitting import story, submit

pytestmark = pytest.mark.asyncio(loop_scope="package")

TO_BASE64, TO_STORAGE, BATCH = PATHS
COST = 0.034213  # of an edit, by what the stand-in counts
DEAR = 0.13  # less than the estimate of an edit, and more than its cost


@pytest_asyncio.fixture(loop_scope="package")
async def api() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def caller(
    api: OpenAIStandin, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Caller]:
    """Run a service of its own, so that its sums are those of one test."""
    settings = service_settings(
        tmp_path_factory.mktemp("costs"),
        openai={"api_key": api.api_key, "base_url": api.base_url},
        callbacks={"schedule": [0]},
    )
    async with running_service(Settings.model_validate(settings)) as caller:
        yield caller


def fill(caller: Caller, images: int) -> None:
    folder = caller.files / "input" / "input"
    folder.mkdir(parents=True)
    for number in range(images):
        (folder / f"{number}.png").write_bytes(picture())


async def test_the_cost_of_an_edit_is_in_callback_job_story_and_figures(caller: Caller) -> None:
    callback = await caller.run(TO_BASE64, PHOTO)
    job_id = callback["job_id"]
    await caller.until(job_id, lambda job: job.is_settled)
    _, shown = await caller.get(f"/jobs/{job_id}")
    assert callback["cost_usd"] == shown["cost_usd"] == COST
    assert "cost_unknown" not in callback
    assert "cost_unknown" not in shown
    [called] = [event for event in await story(caller, job_id) if event.type == "provider_called"]
    expected = {"text_tokens": 17, "image_tokens": 306, "output_tokens": 1056, "cost_usd": COST}
    assert expected.items() <= called.data.items()
    async with caller.session.get(f"{caller.server.url}/metrics") as answer:
        figures = await answer.text()
    labels = 'model="gpt-image-2",provider="openai"'
    assert f"imgsvc_provider_cost_usd_total{{{labels}}} {COST}" in figures
    assert f'imgsvc_provider_tokens_total{{kind="output",{labels}}} 1056.0' in figures


async def test_a_call_whose_end_nobody_knows_is_of_unknown_cost(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_next("disconnect")
    callback = await caller.run(TO_STORAGE, PHOTO)
    assert (callback["provider"], callback["fallback_reason"]) == (
        "local",
        "provider_connection_lost",
    )
    assert (callback["cost_usd"], callback["cost_unknown"]) == (0.0, True)
    _, report = await caller.get("/usage")
    total = report["total"]
    assert (total["calls"], total["images"], total["unknown_calls"]) == (1, 0, 1)
    assert total["held_usd"] > COST


@pytest.mark.parametrize("path", [TO_BASE64, TO_STORAGE])
async def test_an_edit_that_may_cost_more_than_the_request_allows_is_not_made(
    caller: Caller, api: OpenAIStandin, path: str
) -> None:
    callback = await caller.run(path, PHOTO | {"max_cost_usd": DEAR})
    assert (callback["provider"], callback["fallback_reason"]) == ("local", "budget_spent")
    assert "cost_usd" not in callback
    callback = await caller.run(path, PHOTO | {"max_cost_usd": DEAR, "fallback": "never"})
    assert callback["error"].startswith(
        "BudgetSpent: This job has spent or set aside 0 of the 0.13 USD it may"
    )
    assert not api.calls

    callback = await caller.run(path, PHOTO | {"max_cost_usd": 1})
    assert (callback["provider"], callback["cost_usd"]) == ("openai", COST)


async def test_a_batch_stops_when_it_has_spent_what_the_request_allows(
    caller: Caller, api: OpenAIStandin
) -> None:
    fill(caller, 8)
    callback = await caller.run(BATCH, {"prompt": "x", "max_cost_usd": 0.2, "concurrency": 4})
    made = callback["processed"]
    assert 2 <= made < 8
    assert (callback["failed"], callback["fallback_local"]) == (8 - made, 0)
    assert callback["status"] == "completed_with_errors"
    assert callback["cost_usd"] == round(made * COST, 6) <= 0.2
    assert callback["error"].startswith("BudgetSpent: ")
    assert callback["errors"] == [f"{8 - made} of 8 images were not begun: {callback['error']}"]
    assert len(api.calls) == made


async def test_a_job_that_is_done_again_has_its_own_budget(
    caller: Caller, api: OpenAIStandin
) -> None:
    api.fail_next("disconnect", times=1)
    body = PHOTO | {"max_cost_usd": 0.2, "fallback": "never"}
    failed = await caller.run(TO_BASE64, body)
    assert failed["cost_unknown"] is True
    status, again = await caller.post(f"/jobs/{failed['job_id']}/retry", None)
    assert status == 202
    await caller.until(again["job_id"], lambda job: job.is_settled)
    _, shown = await caller.get(f"/jobs/{again['job_id']}")
    assert (shown["state"], shown["cost_usd"]) == ("completed", COST)
    assert "cost_unknown" not in shown


async def test_the_limit_of_a_request_is_a_part_of_what_it_asks_for(caller: Caller) -> None:
    headers = {"Idempotency-Key": "dear", "Prefer": "respond-async"}
    first = await submit(caller, PHOTO | {"max_cost_usd": 1}, headers=headers)
    again = await submit(caller, PHOTO | {"max_cost_usd": 1}, headers=headers)
    other = await submit(caller, PHOTO | {"max_cost_usd": 2}, headers=headers)
    assert first.body == again.body
    assert_problem(other.status, other.body, "idempotency_key_reused")
    [job] = await caller.server.service.backend.list(JobFilter(), before=None, limit=10)
    assert job.spec.max_cost == 10**9


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("wrong", [0, -1, "1", True, inf, nan, 1e7, 1e-9])
async def test_a_limit_that_is_no_sum_of_money_is_refused(
    remote: Caller, path: str, wrong: Any
) -> None:
    body = ({"prompt": "x"} if path == BATCH else PHOTO) | {"max_cost_usd": wrong}
    status, problem = await remote.post(path, body)
    assert status in {400, 422}
    if status == 422:
        assert [error["field"] for error in problem["errors"]] == ["max_cost_usd"]


async def test_the_smallest_limit_is_told_as_it_is_written(remote: Caller) -> None:
    _, problem = await remote.post(BATCH, {"prompt": "x", "max_cost_usd": 0})
    [error] = problem["errors"]
    assert error["message"] == "should be 0.000001 at least"


async def test_the_budgets_of_the_configuration_hold_for_everybody(
    api: OpenAIStandin, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(
        openai={"api_key": api.api_key, "base_url": api.base_url},
        budgets={"client_day_usd": 0.16, "when_spent": "fail"},
    )
    async with running_service(settings) as caller:
        first, second = [await caller.run(TO_BASE64, PHOTO) for _ in range(2)]
    assert first["cost_usd"] == COST
    assert second["error"].startswith(
        "BudgetSpent: This client has spent or set aside 0.034213 of the 0.16 USD"
    )
    assert len(api.calls) == 1


# -- what it has cost ---------------------------------------------------------------------


def today() -> str:
    return datetime.now(UTC).date().isoformat()


SUMS = {
    "calls": 2,
    "images": 2,
    "text_tokens": 34,
    "image_tokens": 612,
    "output_tokens": 2112,
    "cost_usd": 0.068426,
    "unknown_calls": 0,
    "held_usd": 0.0,
}


@pytest.mark.parametrize(
    ("group_by", "key"),
    [
        ("client", {"client": "127.0.0.1"}),
        ("model", {"provider": "openai", "model": "gpt-image-2"}),
        ("day", {}),
    ],
)
async def test_what_was_spent_is_added_up_by_day_client_or_model(
    caller: Caller, group_by: str, key: dict[str, str]
) -> None:
    before = today()
    for _ in range(2):
        await caller.run(TO_BASE64, PHOTO)
    status, report = await caller.get(f"/usage?from={before}&to={today()}&group_by={group_by}")
    assert status == 200
    assert report["total"] == SUMS
    if today() == before:  # or else midnight has come
        key = key or {"day": before}
        assert report == {
            "from": before,
            "to": before,
            "group_by": group_by,
            "rows": [SUMS | key],
            "total": SUMS,
        }


async def test_a_report_that_names_no_days_is_of_the_last_thirty(remote: Caller) -> None:
    _, report = await remote.get("/usage")
    first, last = (datetime.fromisoformat(report[name]) for name in ("from", "to"))
    assert ((last - first).days, report["group_by"]) == (29, "day")
    assert abs((datetime.now(UTC).date() - last.date()).days) <= 1


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("to=2026-03-01", "2026-01-31", "2026-03-01"),
        ("from=2026-03-01&to=2026-03-01", "2026-03-01", "2026-03-01"),
        ("from=9999-12-31", "9999-12-31", "9999-12-31"),
        ("to=0001-01-02", "0001-01-01", "0001-01-02"),
        ("from=0001-01-01&to=9999-12-31", "0001-01-01", "9999-12-31"),
    ],
)
async def test_the_days_of_a_report_count_both(
    remote: Caller, query: str, first: str, last: str
) -> None:
    status, report = await remote.get(f"/usage?{query}")
    assert (status, report["from"], report["to"]) == (200, first, last)


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("from=yesterday", "from", "must be a day like 2026-11-25"),
        ("from=20261125", "from", "must be a day like 2026-11-25"),
        ("to=2026-02-30", "to", "must be a day like 2026-11-25"),
        ("to=", "to", "must be a day like 2026-11-25"),
        ("from=2026-11-25T00:00:00Z", "from", "must be a day like 2026-11-25"),
        ("from=2026-11-25&to=2026-11-24", "from", "is behind `to`"),
        ("group_by=job", "group_by", "should be 'client', 'model' or 'day'"),
        ("group_by=day&group_by=day", "group_by", "was given more than once"),
        ("since=2026-11-25", "since", "unknown field; see /docs for those there are"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_name(
    remote: Caller, query: str, field: str, message: str
) -> None:
    status, problem = await remote.get(f"/usage?{query}")
    assert_problem(status, problem, "invalid_request")
    assert problem["errors"] == [{"field": field, "message": message}]
