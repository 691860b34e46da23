"""What every record of jobs promises; each implementation runs all of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imgsvc.errors import (
    CallbackNotSettled,
    IdempotencyKeyReused,
    JobNotFound,
    QueueFull,
)
from imgsvc.jobs import BackendStats, JobBackend
from imgsvc.jobs.models import (
    CallbackState,
    EventType,
    Job,
    JobFilter,
    JobKind,
    JobState,
)
from jobs.backends import (
    CANCELLED,
    COMPLETED,
    FAILED,
    IDLE,
    IMPLEMENTATIONS,
    Open,
    accept,
    attempt,
    claim,
    finish,
    finished,
    frozen,
    running,
    settle,
    until_settled,
)
from jobs.parts import CALLBACK_URL, batch_spec, image_spec, new_job


@pytest.fixture(params=IMPLEMENTATIONS)
def open_backend(request: pytest.FixtureRequest) -> Open:
    opening: Open = request.param
    return opening


@pytest.fixture
async def backend(open_backend: Open, tmp_path: Path) -> AsyncIterator[JobBackend]:
    async with open_backend(tmp_path) as backend:
        yield backend


async def types(backend: JobBackend, job_id: str) -> list[EventType]:
    return [event.type for event in await backend.events(job_id, after=0, limit=100)]


# -- accept -------------------------------------------------------------------------------


async def test_an_accepted_job_is_queued_as_it_was_asked_for(backend: JobBackend) -> None:
    accepted = await backend.accept(new_job(request_id="req-7", client="ann", priority=8))

    job = accepted.job
    assert accepted.is_new
    assert job.spec == image_spec(filename="a.png")
    assert (job.callback_url, job.request_id) == (CALLBACK_URL, "req-7")
    assert (job.client, job.priority) == ("ann", 8)
    assert (job.state, job.attempt, job.callback_body) == (JobState.QUEUED, 0, None)
    assert job.callback_state is CallbackState.NONE
    assert job.accepted_at.tzinfo is not None
    assert await backend.get(job.id) == job


@pytest.mark.parametrize(
    "spec",
    [
        image_spec(filename='ü"\\\n.png', kind=JobKind.IMAGE_TO_STORAGE, fallback_allowed=False),
        batch_spec(input_prefix="in/", concurrency=7),
    ],
)
async def test_a_specification_is_read_as_it_was_written(backend: JobBackend, spec: object) -> None:
    job = await accept(backend, spec=spec)
    assert (await backend.get(job.id)).spec == spec


async def test_no_two_jobs_share_an_id_or_a_webhook_id(backend: JobBackend) -> None:
    jobs = await asyncio.gather(*(accept(backend) for _ in range(50)))

    assert len({job.id for job in jobs}) == 50
    assert len({job.webhook_id for job in jobs}) == 50
    assert len({job.seq for job in jobs}) == 50


async def test_a_job_that_nobody_knows_is_not_found(backend: JobBackend) -> None:
    for look in (backend.get, backend.redeliver):
        with pytest.raises(JobNotFound):
            await look("unknown")
    with pytest.raises(JobNotFound):
        await backend.cancel("unknown", CANCELLED, frozen("unknown"))


async def test_a_full_queue_refuses_and_has_room_again_later(
    open_backend: Open, tmp_path: Path
) -> None:
    async with open_backend(tmp_path, max_queued=2) as backend:
        first, _ = await accept(backend), await accept(backend)
        with pytest.raises(QueueFull):
            await accept(backend)
        assert backend.stats().queued == 2

        await claim(backend, first)
        await accept(backend)
        assert backend.stats().queued == 2


async def test_of_many_that_come_together_no_more_are_taken_than_there_is_room(
    open_backend: Open, tmp_path: Path
) -> None:
    async with open_backend(tmp_path, max_queued=7) as backend:
        results = await asyncio.gather(
            *(accept(backend) for _ in range(50)), return_exceptions=True
        )
        assert [type(result) for result in results].count(QueueFull) == 43
        assert backend.stats().queued == 7


# -- idempotency --------------------------------------------------------------------------


async def test_a_repeated_key_gives_the_first_job_again(backend: JobBackend) -> None:
    new = new_job(idempotency_key="key-1", digest="abc")
    accepted = await asyncio.gather(*(backend.accept(new) for _ in range(100)))

    assert len({each.job.id for each in accepted}) == 1
    assert [each.is_new for each in accepted].count(True) == 1
    assert backend.stats().queued == 1


async def test_a_key_with_another_request_is_refused(backend: JobBackend) -> None:
    new = new_job(idempotency_key="key-1", digest="abc")
    await backend.accept(new)

    with pytest.raises(IdempotencyKeyReused):
        await backend.accept(replace(new, digest="def"))
    assert backend.stats().queued == 1


async def test_clients_do_not_share_their_keys(backend: JobBackend) -> None:
    new = new_job(idempotency_key="key-1", digest="abc", client="ann")
    first = await backend.accept(new)
    second = await backend.accept(replace(new, client="bob", digest="def"))

    assert (first.is_new, second.is_new) == (True, True)


async def test_a_repetition_is_answered_even_if_the_queue_is_full(
    open_backend: Open, tmp_path: Path
) -> None:
    async with open_backend(tmp_path, max_queued=1) as backend:
        new = new_job(idempotency_key="key-1", digest="abc")
        first = await backend.accept(new)
        assert await backend.accept(new) == replace(first, is_new=False)
        with pytest.raises(QueueFull):
            await backend.accept(replace(new, idempotency_key="key-2"))


# -- start and finish ---------------------------------------------------------------------


async def test_a_claimed_job_is_running_with_a_new_token(backend: JobBackend) -> None:
    job = await accept(backend)
    claimed = await claim(backend, job)

    running_job = claimed.job
    assert running_job.started_at is not None
    assert running_job == replace(
        job, state=JobState.RUNNING, attempt=1, started_at=running_job.started_at
    )
    assert not claimed.cancelled.is_set()


async def test_a_job_is_claimed_once(backend: JobBackend) -> None:
    job = await accept(backend)
    claims = await asyncio.gather(*(backend.start(job.id) for _ in range(10)))

    assert [claim is not None for claim in claims].count(True) == 1
    assert await backend.start(job.id) is None
    assert await backend.start("unknown") is None


async def test_a_finished_job_cannot_be_claimed_again(backend: JobBackend) -> None:
    job = await finished(backend)
    assert await backend.start(job.id) is None


async def test_state_outcome_and_callback_are_fixed_together(backend: JobBackend) -> None:
    job = await accept(backend)
    token = (await claim(backend, job)).job.attempt
    due = datetime.now(UTC) + timedelta(hours=1)

    assert await backend.finish(job.id, token, FAILED, frozen(job.id, due_at=due))

    ended = await backend.get(job.id)
    assert (ended.state, ended.outcome) == (JobState.FAILED, FAILED)
    assert ended.callback_body == frozen(job.id).body
    assert (ended.callback_state, ended.callback_attempts) == (CallbackState.PENDING, 0)
    assert ended.next_attempt_at == due
    assert ended.finished_at is not None
    assert not ended.is_settled


@pytest.mark.parametrize("token", [0, 2, -1])
async def test_a_wrong_token_finishes_nothing(backend: JobBackend, token: int) -> None:
    job = await accept(backend)
    claimed = await claim(backend, job)

    assert not await backend.finish(job.id, token, FAILED, frozen("other"))
    assert backend.stats() == BackendStats(queued=0, running=1, callbacks_pending=0)
    assert await finish(backend, claimed.job)


async def test_a_job_that_no_worker_has_claimed_cannot_be_finished(backend: JobBackend) -> None:
    job = await accept(backend)

    assert not await finish(backend, job)
    assert not await backend.finish("unknown", 1, COMPLETED, frozen("unknown"))
    assert backend.stats() == BackendStats(queued=1, running=0, callbacks_pending=0)


async def test_the_first_end_of_a_job_stays(backend: JobBackend) -> None:
    job = await finished(backend)

    assert not await backend.finish(job.id, 1, FAILED, frozen("other"))
    assert await backend.get(job.id) == job


async def test_a_worker_that_was_frozen_while_its_job_went_on_changes_nothing(
    open_backend: Open, tmp_path: Path
) -> None:
    async with open_backend(tmp_path) as backend:
        job = await accept(backend)
        old = (await claim(backend, job)).job
    async with open_backend(tmp_path) as backend:  # its process was given up
        new = (await claim(backend, job)).job
        assert new.attempt == old.attempt + 1

        assert not await backend.finish(job.id, old.attempt, FAILED, frozen("other"))
        assert await finish(backend, new)
        assert (await backend.get(job.id)).state is JobState.COMPLETED


@pytest.mark.parametrize(
    ("outcome", "kept"), [(COMPLETED, False), (CANCELLED, False), (FAILED, True)]
)
async def test_inputs_belong_to_the_job_until_it_ends_or_longer_if_it_failed(
    backend: JobBackend, outcome: object, kept: bool
) -> None:
    mask = frozen("mask").body
    job = await finished(backend, outcome, spec=image_spec(mask=mask))  # type: ignore[arg-type]  # parametrized

    owned = frozenset() if kept else frozenset({mask.key})
    assert await backend.unknown_blobs([mask.key, f"body-{job.id}"]) == owned
    assert await backend.unknown_blobs(["stranger"]) == {"stranger"}


# -- cancel -------------------------------------------------------------------------------


async def test_a_queued_job_is_cancelled_at_once(backend: JobBackend) -> None:
    job = await accept(backend)
    cancelled = await backend.cancel(job.id, CANCELLED, frozen(job.id))

    assert (cancelled.state, cancelled.outcome) == (JobState.CANCELLED, CANCELLED)
    assert cancelled.callback_state is CallbackState.PENDING
    assert await backend.start(job.id) is None
    assert backend.stats() == BackendStats(queued=0, running=0, callbacks_pending=1)


async def test_a_running_job_is_told_to_stop_and_its_worker_ends_it(backend: JobBackend) -> None:
    job = await accept(backend)
    claimed = await claim(backend, job)

    told = await backend.cancel(job.id, CANCELLED, frozen(job.id))
    assert (told.state, told.cancel_requested) == (JobState.RUNNING, True)
    assert claimed.cancelled.is_set()
    assert told.callback_body is None

    assert await finish(backend, claimed.job, CANCELLED)
    assert (await backend.get(job.id)).state is JobState.CANCELLED


@pytest.mark.parametrize("outcome", [COMPLETED, FAILED, CANCELLED])
async def test_what_has_ended_is_left_alone_by_a_cancel(
    backend: JobBackend, outcome: object
) -> None:
    job = await finished(backend, outcome)  # type: ignore[arg-type]  # parametrized
    assert await backend.cancel(job.id, CANCELLED, frozen("other")) == job
    assert EventType.CANCEL_REQUESTED not in await types(backend, job.id)


async def test_a_wish_to_cancel_survives_a_crash(open_backend: Open, tmp_path: Path) -> None:
    async with open_backend(tmp_path) as backend:
        job = await accept(backend)
        await claim(backend, job)
        await backend.cancel(job.id, CANCELLED, frozen(job.id))
    async with open_backend(tmp_path) as backend:
        assert (await claim(backend, job)).cancelled.is_set()


# -- callbacks ----------------------------------------------------------------------------


async def test_a_delivery_moves_the_callback_and_is_kept(backend: JobBackend) -> None:
    job = await finished(backend)
    later = datetime.now(UTC) + timedelta(hours=1)
    failure = attempt(verdict="retry", status=None, error="timeout", answer="")

    assert await backend.record_delivery(job.id, failure, CallbackState.PENDING, later)
    waiting = await backend.get(job.id)
    assert (waiting.callback_attempts, waiting.next_attempt_at) == (1, later)

    assert await backend.record_delivery(job.id, attempt(), CallbackState.DELIVERED, None)
    settled = await backend.get(job.id)
    assert (settled.callback_state, settled.next_attempt_at) == (CallbackState.DELIVERED, None)
    assert settled.is_settled
    kept = await backend.attempts(job.id)
    assert [(each.number, each.error) for each in kept] == [(1, "timeout"), (2, None)]


async def test_what_is_settled_is_not_delivered_again_by_a_late_report(
    backend: JobBackend,
) -> None:
    job = await finished(backend)
    await settle(backend, job)

    assert not await backend.record_delivery(job.id, attempt(), CallbackState.DEAD, None)
    assert (await backend.get(job.id)).callback_state is CallbackState.DELIVERED
    assert len(await backend.attempts(job.id)) == 1


@pytest.mark.parametrize("end", [CallbackState.DELIVERED, CallbackState.DEAD])
async def test_a_settled_callback_can_be_made_due_again(
    backend: JobBackend, end: CallbackState
) -> None:
    job = await finished(backend)
    await backend.record_delivery(job.id, attempt(), end, None)

    again = await backend.redeliver(job.id)
    assert (again.callback_state, again.callback_attempts) == (CallbackState.PENDING, 0)
    assert again.callback_body == job.callback_body
    assert again.webhook_id == job.webhook_id
    with pytest.raises(CallbackNotSettled):
        await backend.redeliver(job.id)


async def test_what_has_no_callback_cannot_be_delivered_again(backend: JobBackend) -> None:
    job = await accept(backend)
    silent = await finished(backend, callback_url=None)
    for each in (job, silent):
        with pytest.raises(CallbackNotSettled):
            await backend.redeliver(each.id)


# -- lists --------------------------------------------------------------------------------


async def test_pages_show_every_job_once_while_others_are_added(backend: JobBackend) -> None:
    jobs = [await accept(backend) for _ in range(10)]
    seen: list[Job] = []
    before = None
    while page := await backend.list(JobFilter(), before=before, limit=3):
        seen += page
        before = page[-1].seq
        await accept(backend)
    assert seen == list(reversed(jobs))


async def test_a_list_of_one_client_has_no_job_of_another(backend: JobBackend) -> None:
    anns = [await accept(backend, client="ann") for _ in range(3)]
    bobs = await accept(backend, client="bob")
    found = await backend.list(JobFilter(client="ann"), before=anns[2].seq, limit=10)
    assert found == [anns[1], anns[0]]
    assert await backend.list(JobFilter(client="bob"), before=None, limit=10) == [bobs]
    assert await backend.list(JobFilter(client="An%"), before=None, limit=10) == []


async def test_a_list_shows_what_was_asked_for(backend: JobBackend) -> None:
    image, batch = await accept(backend), await accept(backend, spec=batch_spec())
    dead = await finished(backend)
    await backend.record_delivery(dead.id, attempt(), CallbackState.DEAD, None)
    since = (await backend.get(batch.id)).accepted_at

    async def ids(**wanted: object) -> list[str]:
        found = await backend.list(JobFilter(**wanted), before=None, limit=10)  # type: ignore[arg-type]  # by name
        return [job.id for job in found]

    assert await ids() == [dead.id, batch.id, image.id]
    assert await ids(state=JobState.QUEUED) == [batch.id, image.id]
    assert await ids(kind=JobKind.BATCH) == [batch.id]
    assert await ids(callback=CallbackState.DEAD) == [dead.id]
    assert await ids(since=since) == [dead.id, batch.id]
    assert await ids(state=JobState.QUEUED, kind=JobKind.IMAGE_TO_BASE64) == [image.id]
    assert await ids(state=JobState.FAILED) == []


# -- the story ----------------------------------------------------------------------------


async def test_the_story_of_a_job_is_told_in_order(backend: JobBackend) -> None:
    job = await accept(backend)
    claimed = await claim(backend, job)
    backend.record_event(job.id, EventType.PROVIDER_CALLED, {"provider": "openai", "error": None})
    await finish(backend, claimed.job)
    await settle(backend, job)

    story = await backend.events(job.id, after=0, limit=100)
    assert [event.type for event in story] == [
        EventType.QUEUED,
        EventType.STARTED,
        EventType.PROVIDER_CALLED,
        EventType.FINISHED,
        EventType.CALLBACK_ATTEMPT,
        EventType.CALLBACK_DELIVERED,
    ]
    assert [event.number for event in story] == [1, 2, 3, 4, 5, 6]
    assert dict(story[2].data) == {"provider": "openai"}
    assert [event.at for event in story] == sorted(event.at for event in story)
    assert await backend.events(job.id, after=2, limit=2) == story[2:4]
    assert await backend.events(job.id, after=6, limit=2) == []


async def test_whoever_watches_a_job_is_woken_by_it_and_by_no_other(backend: JobBackend) -> None:
    job, other = await accept(backend), await accept(backend)
    with backend.watch(job.id) as happened:
        await claim(backend, other)
        assert not happened.is_set()
        await claim(backend, job)
        assert happened.is_set()


# -- restarts and upkeep ------------------------------------------------------------------


async def test_all_of_it_survives_a_restart_and_what_was_running_is_queued_again(
    open_backend: Open, tmp_path: Path
) -> None:
    async with open_backend(tmp_path) as backend:
        queued, running_job = await accept(backend), await accept(backend)
        await claim(backend, running_job)
        pending, settled = await finished(backend), await finished(backend)
        await settle(backend, settled)
        before = [await backend.get(job.id) for job in (queued, pending, settled)]
        stories = [await types(backend, job.id) for job in (queued, pending, settled)]

    async with open_backend(tmp_path) as backend:
        assert [await backend.get(job.id) for job in (queued, pending, settled)] == before
        assert [await types(backend, job.id) for job in (queued, pending, settled)] == stories
        again = await backend.get(running_job.id)
        assert (again.state, again.attempt, again.interruptions) == (JobState.QUEUED, 1, 0)
        assert (await types(backend, again.id))[-1] is EventType.QUEUED
        assert backend.stats() == BackendStats(queued=2, running=0, callbacks_pending=1)


async def test_only_settled_jobs_that_ended_before_are_forgotten_and_so_many_at_a_time(
    backend: JobBackend,
) -> None:
    queued, pending = await accept(backend), await finished(backend)
    settled = [await finished(backend) for _ in range(5)]
    for job in settled:
        await settle(backend, job)
    middle = (await backend.get(settled[3].id)).finished_at
    assert middle is not None

    assert set(await backend.forget(before=middle, limit=2)) == {
        f"body-{job.id}" for job in settled[:2]
    }
    assert await backend.forget(before=middle, limit=2) == [f"body-{settled[2].id}"]
    assert await backend.forget(before=middle, limit=2) == []
    left = await backend.list(JobFilter(), before=None, limit=10)
    assert {job.id for job in left} == {queued.id, pending.id, settled[3].id, settled[4].id}
    assert await backend.events(settled[0].id, after=0, limit=10) == []
    assert await backend.attempts(settled[0].id) == []


async def test_the_counts_are_exact(backend: JobBackend) -> None:
    jobs = [await accept(backend) for _ in range(5)]
    claims = [await claim(backend, job) for job in jobs[:3]]
    await finish(backend, claims[0].job)

    assert backend.stats() == BackendStats(queued=2, running=2, callbacks_pending=1)
    await backend.record_delivery(jobs[0].id, attempt(), CallbackState.DEAD, None)
    assert backend.stats() == BackendStats(
        queued=2, running=2, callbacks_pending=0, callbacks_dead=1
    )


async def test_a_record_that_did_all_there_was_is_idle(backend: JobBackend) -> None:
    async with running(backend):
        jobs = [await accept(backend) for _ in range(20)]
        await until_settled(backend, *jobs)
        assert backend.stats() == IDLE
