from dataclasses import replace

from pydantic import TypeAdapter

from imgsvc.jobs.models import JobState, Outcome
from imgsvc.jobs.sqlite.rows import dump_outcome

OUTCOME = Outcome(state=JobState.COMPLETED, provider="local", fallback_reason="provider_timeout")


def load(text: str) -> Outcome:
    return TypeAdapter(Outcome).validate_json(text)


def test_an_outcome_comes_back_as_it_was_kept() -> None:
    for outcome in (OUTCOME, replace(OUTCOME, cost_unknown=True)):
        assert load(dump_outcome(outcome)) == outcome


def test_an_outcome_kept_before_costs_could_be_unknown_still_loads() -> None:
    assert load('{"state": "failed", "error": "JobTimeout: too long"}').cost_unknown is False
