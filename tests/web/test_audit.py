"""The audit log over HTTP: what becomes a row, who reads it, and what is never in one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.jobs.audit import Action
from imgsvc.web.auditing import ROWS_AN_HOUR
from imgsvc.web.auth.roles import Role
from imgsvc.web.keys import CONTEXT
from imgsvc.web.routes import ACTIONS
from standins.logs import logging_of_our_own
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of
from web.refusals import PHOTO

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBMIT = "/process-image-async-b64"
NO_JOB = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    auth = {"max_failures": 1000}
    folder, clients = tmp_path_factory.mktemp("audit"), {"held": {"max_priority": 1}}
    async with guarded_service(folder / "data", auth=auth, clients=clients) as caller:
        yield caller


async def rows(service: Caller, query: str = "") -> list[dict[str, Any]]:
    """Return the rows that an admin sees, the newest first."""
    key = await key_of(service, "root", [Role.ADMIN])
    status, page, _ = await ask(service, "GET", f"/audit?limit=200{query}", {"X-API-Key": key})
    assert status == 200, page
    return list(page["rows"])


async def submit(service: Caller, key: str) -> str:
    headers = {"X-API-Key": key, "Prefer": "respond-async"}
    status, accepted, _ = await ask(service, "POST", SUBMIT, headers, PHOTO)
    assert status == 202, accepted
    await service.until(accepted["job_id"], lambda job: job.finished_at is not None)
    return str(accepted["job_id"])


async def test_a_row_says_who_did_it_how_that_was_proved_from_where_and_in_which_request(
    service: Caller,
) -> None:
    key = await key_of(service, "ann", [Role.SUBMIT])
    job_id = await submit(service, key)
    [row] = await rows(service, f"&target={job_id}")
    at, number, request_id = row.pop("at"), row.pop("number"), row.pop("request_id")
    assert (bool(at), number > 0, len(request_id)) == (True, True, 32)
    assert row == {
        "actor": "ann",
        "proof": "api_key",
        "key_id": key.split("_")[1],
        "address": "127.0.0.1",
        "action": "job.submit",
        "target": job_id,
        "outcome": "done",
        "details": {"client": "ann", "kind": "image_to_base64"},
    }


async def test_what_is_refused_on_a_job_is_a_row_with_the_reason(service: Caller) -> None:
    anns = await key_of(service, "ann", [Role.SUBMIT])
    bobs = await key_of(service, "bob", [Role.READ, Role.SUBMIT])
    job_id = await submit(service, anns)
    for method, path, key in (
        ("GET", f"/jobs/{job_id}", bobs),  # another's
        ("GET", f"/jobs/{NO_JOB}/events", bobs),  # nobody's
        ("POST", f"/jobs/{job_id}/cancel", bobs),
        ("POST", f"/jobs/{job_id}/retry", anns),  # it is done
        ("POST", f"/jobs/{job_id}/callback/redeliver", anns),  # without the role
        ("POST", "/jobs/{job_id}\x27;--/retry", anns),  # an id that none can have
        ("GET", "/audit", anns),
    ):
        status, problem, _ = await ask(service, method, path, {"X-API-Key": key})
        assert status in {403, 404, 409}, problem
    found = [(r["actor"], r["action"], r.get("target"), r["outcome"]) for r in await rows(service)]
    assert found[:7] == [
        ("ann", "audit.read", None, "role_missing"),
        ("ann", "job.retry", None, "job_not_found"),
        ("ann", "callback.redeliver", job_id, "role_missing"),
        ("ann", "job.retry", job_id, "job_not_retryable"),
        ("bob", "job.cancel", job_id, "job_not_found"),
        ("bob", "job.read", NO_JOB, "job_not_found"),
        ("bob", "job.read", job_id, "job_not_found"),
    ]


async def test_a_row_names_the_rule_that_a_client_is_held_to(service: Caller) -> None:
    headers = {"X-API-Key": await key_of(service, "held", [Role.SUBMIT])}
    headers |= {"Prefer": "respond-async"}
    assert (await ask(service, "POST", SUBMIT, headers, PHOTO | {"priority": 5}))[0] == 403
    [row] = await rows(service, "&outcome=not_allowed_for_client")
    assert (row["actor"], row["details"]) == ("held", {"rule": "max_priority"})


@pytest.mark.parametrize(
    ("key_id", "target"),
    [
        ("nosuchkey1", "nosuchkey1"),
        ("mistyped", "mistyped"),
        ("imgsvc_abcdefghij_" + "s" * 43, None),  # a whole key, of which nothing may be kept
        ("s" * 43, None),
    ],
)
async def test_a_row_has_the_id_of_a_key_that_there_is_not(
    service: Caller, key_id: str, target: str | None
) -> None:
    headers = {"X-API-Key": await key_of(service, "root", [Role.ADMIN])}
    assert (await ask(service, "POST", f"/keys/{key_id}/revoke", headers))[0] == 404
    row = (await rows(service, "&outcome=key_not_found"))[0]
    assert (row["action"], row.get("target")) == ("key.revoke", target)


async def test_asking_for_what_is_not_ready_yet_is_no_row(service: Caller) -> None:
    key = await key_of(service, "ann", [Role.SUBMIT, Role.READ])
    broken = PHOTO | {"image_base64": None, "image_url": f"{service.receiver.url}/none"}
    headers = {"X-API-Key": key, "Prefer": "respond-async"}
    _, accepted, _ = await ask(service, "POST", SUBMIT, headers, broken)
    await service.until(accepted["job_id"], lambda job: job.finished_at is not None)
    path = f"/jobs/{accepted['job_id']}/result"
    assert (await ask(service, "GET", path, headers))[0] == 409
    assert len(await rows(service, f"&target={accepted['job_id']}")) == 1


async def test_nobody_fills_the_disk_with_what_is_refused(service: Caller) -> None:
    keys = [await key_of(service, name, [Role.READ]) for name in ("mallory", "mallory", "mona")]
    tries = ROWS_AN_HOUR + 20
    await asyncio.gather(
        *(
            ask(service, "GET", f"/jobs/{NO_JOB}", {"X-API-Key": key})
            for key in keys
            for _ in range(tries)
        )
    )
    for name in ("mallory", "mona"):  # two keys of one client share its rows
        assert len(await rows(service, f"&actor={name}")) == ROWS_AN_HOUR


async def test_wrong_keys_are_told_to_the_stream_alone(service: Caller) -> None:
    before = (await rows(service))[0]["number"]
    wrong = await key_of(service, "ann", [Role.READ])
    forged = wrong[:-1] + ("a" if wrong[-1] != "a" else "b")
    with logging_of_our_own() as configure:
        lines = configure()
        for key in ("nonsense", forged):
            assert (await ask(service, "GET", "/audit", {"X-API-Key": key}))[0] == 401
        assert (await ask(service, "GET", "/audit"))[0] == 401
        told = [line for line in lines.all() if line["logger"] == "imgsvc.audit"]
    assert {line["event"] for line in told} == {"authentication_failed"}
    assert [(line["address"], line["key_id"], line["reason"]) for line in told] == [
        ("127.0.0.1", None, "malformed"),
        ("127.0.0.1", wrong.split("_")[1], "wrong_secret"),
    ]
    assert (await rows(service))[0]["number"] == before


@pytest.mark.parametrize("roles", [{Role.READ}, {Role.SUBMIT, Role.READ, Role.OPERATE}, set()])
async def test_only_an_admin_reads_it(service: Caller, roles: set[Role]) -> None:
    key = await key_of(service, "ann", roles)
    for path in ("/audit", "/config", "/keys"):
        status, problem, _ = await ask(service, "GET", path, {"X-API-Key": key})
        assert (status, problem["code"]) == (403, "role_missing")
        assert "rows" not in problem


async def test_an_admin_sees_the_rows_of_every_client_and_leaves_a_line_but_no_row(
    service: Caller,
) -> None:
    for name in ("una", "duo"):
        await submit(service, await key_of(service, name, [Role.SUBMIT]))
    with logging_of_our_own() as configure:
        lines = configure()
        found = await rows(service)
        key = await key_of(service, "root", [Role.ADMIN])
        for path in ("/keys", "/config", "/cos/config"):
            assert (await ask(service, "GET", path, {"X-API-Key": key}))[0] == 200
        told = [line["action"] for line in lines.all() if line["event"] == "audit"]
    assert {"una", "duo"} <= {row["actor"] for row in found}
    assert told == ["audit.read", "key.list", "config.read", "config.read"]
    seen = {row["action"] for row in await rows(service) if row["outcome"] == "done"}
    assert seen.isdisjoint({"audit.read", "key.list", "config.read"})


async def test_filters_choose_and_pages_go_on_where_the_last_one_ended(service: Caller) -> None:
    key = await key_of(service, "root", [Role.ADMIN])
    paulas = await key_of(service, "paula", [Role.READ])
    for _ in range(5):
        await ask(service, "GET", f"/jobs/{NO_JOB}", {"X-API-Key": paulas})
    everything = await rows(service, "&actor=paula")
    assert len(everything) == 5
    seen: list[Any] = []
    cursor = ""
    while True:
        path = f"/audit?actor=paula&limit=2{cursor}"
        _, page, _ = await ask(service, "GET", path, {"X-API-Key": key})
        seen += page["rows"]
        if "next_cursor" not in page:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == everything
    for wrong in ("/audit?actor=ann&limit=2", "/jobs?limit=2", "/audit?limit=2"):
        every = await key_of(service, "root", list(Role))
        status, problem, _ = await ask(service, "GET", wrong + cursor, {"X-API-Key": every})
        assert (status, problem["code"]) == (400, "invalid_cursor")
    newest = everything[0]
    exactly = f"&since={newest['at'].replace('+', '%2B')}&action={newest['action']}"
    assert newest in await rows(service, exactly)
    assert newest not in await rows(service, f"&until={newest['at'].replace('+', '%2B')}")


@pytest.mark.parametrize(
    "query",
    [
        "action=job.steal",
        "actor=",
        f"actor={'x' * 201}",
        f"target={'x' * 101}",
        "limit=0",
        "limit=201",
        "since=soon",
        "until=",
        "who=ann",
        "actor=ann&actor=bob",
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(service: Caller, query: str) -> None:
    key = await key_of(service, "root", [Role.ADMIN])
    status, problem, _ = await ask(service, "GET", f"/audit?{query}", {"X-API-Key": key})
    assert (status, problem["code"]) == (422, "invalid_request")
    assert problem["errors"]


@pytest.mark.parametrize("query", ["actor=' OR 1=1 --", "target=%25", "actor=\u202ekoor"])
async def test_a_filter_is_no_sql_and_no_pattern(service: Caller, query: str) -> None:
    assert await rows(service, f"&{query}") == []


async def test_every_route_that_changes_something_has_an_action(service: Caller) -> None:
    rules = service.server.service.app[CONTEXT].guard.rules
    closed = {route for route, rule in rules.items() if not rule.is_public}
    assert {route for route in closed if route[0] == "POST"} <= set(ACTIONS)
    assert {route for route in closed if "{job_id}" in route[1]} <= set(ACTIONS)
    assert set(ACTIONS) <= closed
    assert set(ACTIONS.values()) == set(Action)


async def test_no_prompt_url_or_secret_is_in_a_row_or_a_line(tmp_path: Path) -> None:
    canary = "CANARY-7f3a"
    with logging_of_our_own() as configure:
        lines = configure(level="debug")
        async with guarded_service(tmp_path / "data") as service:
            key = await key_of(service, "ann", list(Role))
            headers = {
                "X-API-Key": key,
                "callbackUrl": f"{service.receiver.url}?token={canary}",
                "Idempotency-Key": f"{canary}-key",
            }
            body = PHOTO | {"prompt": f"Blur it {canary}", "filename": f"{canary}.png"}
            status, accepted, _ = await ask(service, "POST", SUBMIT, headers, body)
            assert status == 202
            job_id = accepted["job_id"]
            await service.until(job_id, lambda job: job.is_settled)
            me = {"X-API-Key": key}
            for path in ("cancel", "retry", "callback/redeliver"):
                await ask(service, "POST", f"/jobs/{job_id}/{path}?x={canary}", me)
            made = {"client": "bob", "roles": ["read"]}
            _, new, _ = await ask(service, "POST", "/keys", me, made)
            _, newer, _ = await ask(service, "POST", f"/keys/{new['id']}/rotate", me)
            await ask(service, "POST", f"/keys/{newer['id']}/revoke", me)
            shown = str(await rows(service)) + str(await ask(service, "GET", "/config", me))
            assert len(await rows(service, "&actor=ann")) == 7
    told = lines.text()
    for secret in (canary, *(each.split("_", 2)[2] for each in (key, new["key"], newer["key"]))):
        assert secret not in shown
        assert secret not in told


async def test_without_authentication_actions_are_rows_and_refusals_are_not(
    tmp_path: Path,
) -> None:
    async with guarded_service(tmp_path / "data", auth={"mode": "none"}) as service:
        headers = {"Prefer": "respond-async"}
        _, accepted, _ = await ask(service, "POST", SUBMIT, headers, PHOTO)
        assert (await ask(service, "POST", f"/jobs/{NO_JOB}/cancel"))[0] == 404
        _, page, _ = await ask(service, "GET", "/audit")
    [row] = page["rows"]
    assert (row["actor"], row["proof"]) == ("127.0.0.1", "none")
    assert row["target"] == accepted["job_id"]


async def test_each_line_of_a_request_and_of_its_job_names_the_client(tmp_path: Path) -> None:
    with logging_of_our_own() as configure:
        lines = configure(level="debug")
        async with guarded_service(tmp_path / "data") as service:
            key = await key_of(service, "ann", [Role.SUBMIT])
            headers = {"X-API-Key": key, "callbackUrl": service.receiver.url}
            _, accepted, _ = await ask(service, "POST", SUBMIT, headers, PHOTO)
            await service.until(accepted["job_id"], lambda job: job.is_settled)
            await ask(service, "GET", "/health")  # by the same connection
            await ask(service, "GET", "/audit", {"X-API-Key": key})
        told = lines.all()
    named = {line["event"] for line in told if line.get("client") == "ann"}
    assert named >= {
        "job_accepted",
        "request_finished",
        "request_refused",
        "job_started",
        "job_finished",
        "callback_attempt",
        "callback_delivered",
    }
    of_jobs = [line for line in told if "job_id" in line]
    assert {line.get("client") for line in of_jobs} == {"ann"}
    assert [line["path"] for line in told if "path" in line and "client" not in line] == ["/health"]
