"""How much one client may have: asked for by many connections at once, over a real server."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from imgsvc.jobs.models import JobState
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.auth.roles import Role
from imgsvc.web.keys import CONTEXT
from imgsvc.web.routes import rules_of
from standins.receiver import hang
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of
from web.raw_sockets import connection
from web.refusals import IMAGE, PATHS, PHOTO, assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = list(Role)
LIMITS: dict[str, Any] = {
    "rated": {"requests_per_minute": 5},
    "spelt": {"requests_per_minute": 5},
    "roleless": {"requests_per_minute": 2},
    "queued": {"max_queued_jobs": 10, "max_running_jobs": 1},
    "again": {"max_queued_jobs": 1, "max_running_jobs": 1},
    "early": {"max_queued_jobs": 1, "max_running_jobs": 1},
    "heavy": {"max_queued_bytes": 2000, "max_running_jobs": 1},
    "both": {"requests_per_minute": 50, "max_queued_jobs": 1, "max_running_jobs": 1},
    "blocked": {"blocked": True, "requests_per_minute": 1},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    folder = tmp_path_factory.mktemp("limited") / "data"
    server = {"max_body_bytes": 100_000, "max_bodies_bytes": 300_000}
    async with guarded_service(folder, clients=LIMITS, server=server) as caller:
        yield caller


async def submit(
    service: Caller, key: str, body: Any = PHOTO, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    given = {"X-API-Key": key, "Prefer": "respond-async"} | headers
    return await ask(service, "POST", PATHS[0], given, body)


async def occupy(service: Caller, key: str) -> str:
    """Have a job of the client in work that does not end by itself, and return its id."""
    service.receiver.answer_with(hang)
    remote = {"prompt": "x", "image_url": service.receiver.url}
    status, accepted, _ = await submit(service, key, remote)
    assert status == 202, accepted
    job_id = str(accepted["job_id"])
    await service.until(job_id, lambda job: job.state is JobState.RUNNING)
    return job_id


async def let_go(service: Caller, key: str, *job_ids: str) -> None:
    for job_id in job_ids:
        await ask(service, "POST", f"/jobs/{job_id}/cancel", {"X-API-Key": key})


# -- whoever is shut out --------------------------------------------------------------------


async def test_a_client_that_is_shut_out_may_do_nothing_with_any_of_its_keys(
    service: Caller,
) -> None:
    rules = rules_of(AuthConfig(mode="api_key"))
    assert rules is not None
    for key in [await key_of(service, "blocked", [role]) for role in ALL]:
        for (method, path), rule in rules.items():
            if not rule.is_public:
                url = path.format(job_id=uuid4(), key_id="k3v9x2m7qa")
                status, problem, _ = await ask(service, method, url, {"X-API-Key": key})
                assert_problem(status, problem, "client_blocked")
                assert status == 403


async def test_a_client_that_is_shut_out_shuts_nobody_else_out(service: Caller) -> None:
    for client in ("Blocked", "blocked.", "other"):
        key = await key_of(service, client, [Role.READ])
        status, _, _ = await ask(service, "GET", "/jobs", {"X-API-Key": key})
        assert status == 200


# -- requests a minute ----------------------------------------------------------------------


async def test_a_client_is_told_what_it_has_left_and_refused_when_that_is_nothing(
    service: Caller,
) -> None:
    key = {"X-API-Key": await key_of(service, "rated", ALL)}
    for left in (4, 3, 2, 1, 0):
        status, _, headers = await ask(service, "GET", "/jobs", key)
        assert status == 200
        assert headers["RateLimit-Policy"] == '"requests";q=5;w=60'
        found = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', headers["RateLimit"])
        assert found is not None
        assert int(found[1]) == left
        assert int(found[2]) <= 12 * (5 - left)
    status, problem, headers = await ask(service, "GET", "/jobs", key)
    assert_problem(status, problem, "client_limit_reached")
    assert (status, problem["rule"]) == (429, "requests_per_minute")
    assert headers["RateLimit-Policy"] == '"requests";q=5;w=60'
    assert re.fullmatch(r'"requests";r=0;t=\d+', headers["RateLimit"])
    assert 1 <= int(headers["Retry-After"]) <= 12
    for path in ("/health", "/openapi.json"):
        assert (await ask(service, "GET", path, key))[0] == 200
    other = {"X-API-Key": await key_of(service, "somebody", ALL)}
    status, _, headers = await ask(service, "GET", "/jobs", other)
    assert (status, "RateLimit" in headers) == (200, False)


async def test_no_other_key_header_method_or_connection_is_a_way_around(service: Caller) -> None:
    keys = [await key_of(service, "spelt", ALL) for _ in range(3)]

    async def one(number: int) -> int:
        key = keys[number % 3]
        headers = [
            {"X-API-Key": key},
            {"x-api-key": f"  {key} "},
            {"Authorization": f"Bearer {key}"},
            {"authorization": f"bEARER  {key}"},
            {"X-API-Key": key, "X-Forwarded-For": f"10.0.0.{number}"},
        ][number % 5]
        method, path = [("GET", "/jobs"), ("HEAD", "/jobs"), ("GET", "/usage")][number % 3]
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, service.server.url + path, headers=headers) as answer,
        ):
            return answer.status

    assert Counter(await asyncio.gather(*map(one, range(60)))) == {200: 5, 429: 55}


async def test_requests_that_are_refused_for_their_role_count_too(service: Caller) -> None:
    key = {"X-API-Key": await key_of(service, "roleless", [Role.READ])}
    statuses = [(await ask(service, "GET", "/metrics", key))[0] for _ in range(3)]
    assert statuses == [403, 403, 429]


async def test_without_authentication_each_address_has_its_limit(tmp_path: Path) -> None:
    rooms = {"auth": {"mode": "none"}, "limits": {"requests_per_minute": 2}}
    asked = []
    for _ in range(2):  # around a restart
        async with guarded_service(tmp_path / "data", **rooms) as service:
            url = service.server.url
            for address in ("127.0.0.1", "127.0.0.2"):
                connector = aiohttp.TCPConnector(local_addr=(address, 0))
                async with aiohttp.ClientSession(connector=connector) as session:
                    for _ in range(2):
                        async with session.get(f"{url}/jobs") as answer:
                            asked.append(answer.status)
    assert asked == [200] * 4 + [429] * 4


# -- jobs and bytes that wait ---------------------------------------------------------------


async def test_of_sixty_jobs_at_once_as_many_are_accepted_as_may_wait(service: Caller) -> None:
    key = await key_of(service, "queued", ALL)
    first = await occupy(service, key)

    async def one(number: int) -> tuple[int, Any, dict[str, str]]:
        headers = {"X-API-Key": key, "Prefer": "respond-async", "X-Request-Id": str(number)}
        url = service.server.url + PATHS[number % 2]
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=PHOTO, headers=headers) as answer,
        ):
            return answer.status, await answer.json(content_type=None), dict(answer.headers)

    answers = await asyncio.gather(*map(one, range(60)))
    assert Counter(status for status, _, _ in answers) == {202: 10, 429: 50}
    accepted = [body["job_id"] for status, body, _ in answers if status == 202]
    status, problem, headers = next(each for each in answers if each[0] == 429)
    assert_problem(status, problem, "client_limit_reached")
    assert problem["rule"] == "max_queued_jobs"
    assert headers["RateLimit-Policy"] == '"queued-jobs";q=10'
    assert headers["RateLimit"] == '"queued-jobs";r=0;t=5'
    assert headers["Retry-After"] == "5"
    blobs = {path.name for path in (service.files.parent / "spool" / "blobs").iterdir()}
    assert len(blobs) <= 10  # nothing is left of those that were refused

    other = await key_of(service, "somebody", ALL)
    status, theirs, _ = await submit(service, other)
    assert status == 202
    done = await service.until(theirs["job_id"], lambda job: job.finished_at is not None)
    assert done.state is JobState.COMPLETED  # while the other one's wait
    assert (await service.server.service.backend.get(accepted[0])).state is JobState.QUEUED
    await let_go(service, key, first, *accepted)


async def test_a_retry_waits_like_a_new_job_and_a_repetition_is_none(service: Caller) -> None:
    key = await key_of(service, "again", ALL)
    broken = {"prompt": "x", "image_url": service.receiver.url}
    _, accepted, _ = await submit(service, key, broken)
    failed = str(accepted["job_id"])
    await service.until(failed, lambda job: job.finished_at is not None)
    first = await occupy(service, key)
    status, waiting, _ = await submit(service, key, **{"Idempotency-Key": "k"})
    assert status == 202
    status, problem, _ = await ask(service, "POST", f"/jobs/{failed}/retry", {"X-API-Key": key})
    assert (status, problem["rule"]) == (429, "max_queued_jobs")
    operator = {"X-API-Key": await key_of(service, "operator", ALL)}
    status, problem, _ = await ask(service, "POST", f"/jobs/{failed}/retry", operator)
    assert (status, problem["rule"]) == (429, "max_queued_jobs")
    status, repeated, headers = await submit(service, key, **{"Idempotency-Key": "k"})
    assert (status, repeated, headers["Idempotent-Replayed"]) == (202, waiting, "true")
    await let_go(service, key, first, waiting["job_id"])


async def test_a_full_queue_is_told_before_the_body_is_read(service: Caller) -> None:
    key = await key_of(service, "early", ALL)
    first = await occupy(service, key)
    _, waiting, _ = await submit(service, key)
    async with connection(service.server.url) as (reader, writer):
        writer.write(head(key, 90_000).replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
        assert b" 429 " in await reader.readline()
    _, body, _ = await ask(
        service, "POST", PATHS[2], {"X-API-Key": key}, {"prompt": "x", "dry_run": True}
    )
    assert body.get("code") != "client_limit_reached"  # it makes no job
    await let_go(service, key, first, waiting["job_id"])


async def test_pictures_that_wait_count_by_their_bytes(service: Caller) -> None:
    key = await key_of(service, "heavy", ALL)
    first = await occupy(service, key)
    answers = [await submit(service, key) for _ in range(40)]
    accepted = [body["job_id"] for status, body, _ in answers if status == 202]
    refused = [body for status, body, _ in answers if status == 429]
    size = len(IMAGE) * 3 // 4
    assert len(accepted) in {2000 // size, 2000 // (size - 2)}
    assert {problem["rule"] for problem in refused} == {"max_queued_bytes"}
    policy = next(headers for status, _, headers in answers if status == 429)["RateLimit-Policy"]
    assert policy == '"queued-bytes";q=2000;qu="content-bytes"'
    await let_go(service, key, first, *accepted)


async def test_a_refusal_tells_of_the_requests_that_are_left_besides(service: Caller) -> None:
    key = await key_of(service, "both", ALL)
    first = await occupy(service, key)
    _, waiting, _ = await submit(service, key)
    status, _, headers = await submit(service, key)
    assert status == 429
    assert headers["RateLimit-Policy"] == '"requests";q=50;w=60, "queued-jobs";q=1'
    assert re.fullmatch(r'"requests";r=47;t=\d+, "queued-jobs";r=0;t=5', headers["RateLimit"])
    await let_go(service, key, first, waiting["job_id"])


# -- room for bodies ------------------------------------------------------------------------


def head(key: str, length: int) -> bytes:
    lines = [
        f"POST {PATHS[0]} HTTP/1.1",
        "Host: x",
        f"X-API-Key: {key}",
        "Prefer: respond-async",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def test_one_client_cannot_take_all_the_room_for_bodies(service: Caller) -> None:
    greedy = await key_of(service, "greedy", ALL)
    modest = await key_of(service, "modest", ALL)
    budget = service.server.service.app[CONTEXT].intake.budget
    url = service.server.url
    async with connection(url) as (_, one), connection(url) as (reader, two):
        one.write(head(greedy, 100_000) + b" " * 99_000)
        while budget.used < 99_000:  # noqa: ASYNC110 - the server tells nobody what it has read
            await asyncio.sleep(0.005)
        two.write(head(greedy, 60_000))
        assert b" 429 " in await reader.readline()
        rest = await reader.readuntil(b"\r\n\r\n")
        assert b'RateLimit-Policy: "bodies";q=150000;qu="content-bytes"' in rest
        assert (await submit(service, modest))[0] == 202
    while budget.used:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.005)
    assert (await submit(service, greedy))[0] == 202


# -- dry runs -------------------------------------------------------------------------------


async def test_one_client_cannot_have_all_dry_runs(
    service: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer, asked = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(*_: object) -> None:
        asked.release()
        await may_answer.wait()

    monkeypatch.setattr("imgsvc.web.dry_run.DryRuns._count", slow)
    greedy, modest = [{"X-API-Key": await key_of(service, name, ALL)} for name in ("eve", "fay")]

    async def dry_run(key: dict[str, str]) -> int:
        return (await ask(service, "POST", PATHS[2], key, {"prompt": "x", "dry_run": True}))[0]

    first = [asyncio.create_task(dry_run(greedy)) for _ in range(20)]
    theirs = asyncio.create_task(dry_run(modest))
    for _ in range(3):
        await asked.acquire()
    assert [await each for each in islice(asyncio.as_completed(first), 18)] == [503] * 18
    may_answer.set()
    assert Counter(await asyncio.gather(*first)) == {200: 2, 503: 18}
    assert await theirs == 200
    assert await dry_run(greedy) == 200
