"""Which moves a job and its callback can make: one table each, and nothing that does I/O."""

from collections.abc import Mapping

from imgsvc.jobs.models import CallbackState, JobState

JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {
            JobState.QUEUED,  # its process has ended: it is done again
            JobState.COMPLETED,
            JobState.COMPLETED_WITH_ERRORS,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.COMPLETED: frozenset(),
    JobState.COMPLETED_WITH_ERRORS: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

CALLBACK_MOVES: Mapping[CallbackState, frozenset[CallbackState]] = {
    CallbackState.NONE: frozenset({CallbackState.PENDING}),
    CallbackState.PENDING: frozenset({CallbackState.DELIVERED, CallbackState.DEAD}),
    CallbackState.DELIVERED: frozenset({CallbackState.PENDING}),  # an operator asks for it
    CallbackState.DEAD: frozenset({CallbackState.PENDING}),  # as well
}

FINAL = frozenset(state for state, moves in JOB_MOVES.items() if not moves)
"""The states in which a job stays."""


def sources(target: JobState) -> tuple[JobState, ...]:
    """Return the states that a job can move to target from."""
    return tuple(state for state, moves in JOB_MOVES.items() if target in moves)


def callback_sources(target: CallbackState) -> tuple[CallbackState, ...]:
    """Return the states that a callback can move to target from."""
    return tuple(state for state, moves in CALLBACK_MOVES.items() if target in moves)
