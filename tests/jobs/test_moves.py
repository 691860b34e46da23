from itertools import product

import pytest

from imgsvc.jobs.models import CallbackState, JobState
from imgsvc.jobs.moves import CALLBACK_MOVES, FINAL, JOB_MOVES, callback_sources, sources

QUEUED, RUNNING, CANCELLED = JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED
ENDS = {state for state in JobState if state not in {QUEUED, RUNNING}}
NONE, PENDING = CallbackState.NONE, CallbackState.PENDING
DELIVERED, DEAD = CallbackState.DELIVERED, CallbackState.DEAD

LEGAL = {
    (QUEUED, RUNNING),
    (QUEUED, CANCELLED),
    (RUNNING, QUEUED),
    *((RUNNING, end) for end in ENDS),
}
LEGAL_CALLBACKS = {
    (NONE, PENDING),
    (PENDING, DELIVERED),
    (PENDING, DEAD),
    (DELIVERED, PENDING),
    (DEAD, PENDING),
}


@pytest.mark.parametrize(("source", "target"), list(product(JobState, JobState)))
def test_a_job_makes_these_moves_and_no_others(source: JobState, target: JobState) -> None:
    assert (target in JOB_MOVES[source]) == ((source, target) in LEGAL)
    assert (source in sources(target)) == ((source, target) in LEGAL)


@pytest.mark.parametrize(("source", "target"), list(product(CallbackState, CallbackState)))
def test_a_callback_makes_these_moves_and_no_others(
    source: CallbackState, target: CallbackState
) -> None:
    assert (target in CALLBACK_MOVES[source]) == ((source, target) in LEGAL_CALLBACKS)
    assert (source in callback_sources(target)) == ((source, target) in LEGAL_CALLBACKS)


def test_an_end_is_an_end() -> None:
    assert FINAL == ENDS
