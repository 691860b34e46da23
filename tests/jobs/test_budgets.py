"""Jobs and batches that have only so much to spend, done by real workers."""

import asyncio
from typing import Any

import pytest

from imgsvc.errors import ProviderRateLimited, ProviderTimeout
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.jobs import BudgetsConfig
from imgsvc.jobs.models import JobState
from imgsvc.providers import EditRequest
from jobs.backends import until_settled
from jobs.batches import Buckets, manifest
from jobs.parts import ScriptedProvider, batch_spec, edited, fails
from jobs.runners import PNG, MakeDeliverer, MakeRunner, RecordingBackend, accept, run_one, running
from standins.receiver import Receiver

pytestmark = pytest.mark.asyncio(loop_scope="session")

CENT = 10**7
PRICE = 4 * CENT  # of a call of ScriptedProvider


def budgets(**fields: Any) -> BudgetsConfig:
    return BudgetsConfig.model_validate(fields)


def fill(buckets: Buckets, images: int) -> None:
    for number in range(images):
        buckets.add(f"input/{number:02}.png", PNG)


async def test_workers_at_once_never_spend_more_than_the_day_has(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    backend: RecordingBackend,
) -> None:
    provider = ScriptedProvider()
    runner = make_runner(provider, budgets=budgets(day_usd=0.1))
    jobs = [await accept(runner, receiver) for _ in range(20)]
    async with running(runner, make_deliverer(), workers=8):
        ended = await until_settled(backend, *jobs)

    assert len(provider.requests) == 2
    assert sum(job.spent.cost for job in ended) == 2 * PRICE
    bodies = [(await receiver.next()).json for _ in jobs]
    assert {body["status"] for body in bodies} == {"completed"}
    reasons = [body.get("fallback_reason") for body in bodies]
    assert (reasons.count("budget_spent"), reasons.count(None)) == (18, 2)
    assert [body["cost_usd"] for body in bodies if "cost_usd" in body] == [0.04, 0.04]


async def test_past_its_budget_a_job_fails_if_the_policy_says_so(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver
) -> None:
    provider = ScriptedProvider()
    runner = make_runner(provider, budgets=budgets(job_usd=0.01, when_spent="fail"))
    body = await run_one(runner, make_deliverer(), receiver)
    assert body["status"] == "failed"
    assert body["error"].startswith(
        "BudgetSpent: This job has spent or set aside 0 of the 0.01 USD it may"
    )
    assert "cost_usd" not in body
    assert not provider.requests


async def test_a_repetition_that_cannot_be_paid_is_not_made(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver
) -> None:
    provider = ScriptedProvider(default=fails(ProviderTimeout()))
    runner = make_runner(provider, budgets=budgets(job_usd=0.07))
    body = await run_one(runner, make_deliverer(), receiver)
    assert (body["fallback_reason"], body["cost_unknown"]) == ("provider_timeout", True)
    # A call that was refused has cost nothing, and may be made again.
    provider.default = fails(ProviderRateLimited())
    provider.requests.clear()
    body = await run_one_more(runner, make_deliverer, receiver)
    assert (body["fallback_reason"], body["cost_usd"]) == ("provider_rate_limited", 0.0)
    assert len(provider.requests) == 6


async def run_one_more(
    runner: Any, make_deliverer: MakeDeliverer, receiver: Receiver
) -> dict[str, Any]:
    receiver.received.clear()
    return await run_one(runner, make_deliverer(), receiver)


# -- batches ------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_batch_stops_when_its_budget_is_spent_however_many_are_in_work(
    make_runner: MakeRunner,
    make_deliverer: MakeDeliverer,
    receiver: Receiver,
    buckets: Buckets,
    backend: RecordingBackend,
    concurrency: int,
) -> None:
    fill(buckets, 10)
    buckets.add("input/notes.txt", b"no image")
    provider = ScriptedProvider()
    spec = batch_spec(concurrency=concurrency, max_cost=3 * PRICE + CENT)
    body = await run_one(make_runner(provider), make_deliverer(), receiver, spec=spec)

    assert body["status"] == "completed_with_errors"
    assert (body["total_files"], body["processed"], body["failed"]) == (10, 3, 7)
    assert (body["fallback_local"], body["fallback"]) == (0, False)
    assert body["cost_usd"] == 0.12
    reason = body["error"]
    assert reason.startswith(
        "BudgetSpent: This job has spent or set aside 0.12 of the 0.13 USD it may"
    )
    assert body["errors"] == [
        f"7 of 10 images were not begun: {reason}",
        "input/notes.txt: skipped, not an image",
    ]
    assert len(provider.requests) == 3

    document = manifest(buckets, f"output/{body['job_id']}/manifest.json")
    assert (document["not_started"], document["skipped"], document["cost_usd"]) == (7, 1, 0.12)
    left = [row for row in document["items"] if row["state"] == "not_started"]
    assert len(left) == 7
    assert {(row["error"], row["seconds"]) for row in left} == {(reason, 0.0)}
    assert sum(row.get("cost_usd", 0) for row in document["items"]) == pytest.approx(0.12)
    job = await backend.get(body["job_id"])
    assert (job.spent.cost, job.outcome and job.outcome.error) == (3 * PRICE, reason)


async def test_those_in_work_end_when_the_batch_stops(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver, buckets: Buckets
) -> None:
    fill(buckets, 5)
    together = asyncio.Barrier(2)

    async def edit_together(request: EditRequest) -> EncodedImage:
        await together.wait()
        return await edited(request)

    provider = ScriptedProvider(default=edit_together)
    spec = batch_spec(concurrency=3, max_cost=2 * PRICE)
    body = await run_one(make_runner(provider), make_deliverer(), receiver, spec=spec)
    assert (body["processed"], body["failed"]) == (2, 3)


async def test_a_batch_without_money_for_its_first_image_has_failed(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver, buckets: Buckets
) -> None:
    fill(buckets, 3)
    provider = ScriptedProvider()
    spec = batch_spec(max_cost=PRICE - 1)
    body = await run_one(make_runner(provider), make_deliverer(), receiver, spec=spec)
    assert (body["status"], body["failed"], body["processed"]) == ("failed", 3, 0)
    assert body["error"].startswith("BudgetSpent: ")
    assert "cost_usd" not in body
    assert not provider.requests


async def test_the_budget_of_the_day_is_asked_for_each_image_of_a_batch(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver, buckets: Buckets
) -> None:
    fill(buckets, 5)
    runner = make_runner(ScriptedProvider(), budgets=budgets(day_usd=0.08))
    body = await run_one(runner, make_deliverer(), receiver, spec=batch_spec(concurrency=1))
    assert (body["processed"], body["fallback_local"], body["failed"]) == (2, 3, 0)
    assert (body["fallback_reason"], "error" in body) == ("budget_spent", False)


async def test_an_image_whose_call_may_have_been_billed_was_begun(
    make_runner: MakeRunner, make_deliverer: MakeDeliverer, receiver: Receiver, buckets: Buckets
) -> None:
    fill(buckets, 2)
    provider = ScriptedProvider(by_name={"00.png": fails(ProviderTimeout())})
    spec = batch_spec(concurrency=1, max_cost=PRICE, fallback_allowed=False)
    body = await run_one(make_runner(provider), make_deliverer(), receiver, spec=spec)
    document = manifest(buckets, f"output/{body['job_id']}/manifest.json")
    first, second = document["items"]
    assert (first["state"], first["cost_usd"], first["cost_unknown"]) == ("failed", 0.0, True)
    assert (second["state"], "cost_usd" in second) == ("not_started", False)
    assert (document["cost_usd"], document["cost_unknown"]) == (0.0, True)
    assert body["status"] == JobState.FAILED
