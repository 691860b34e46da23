"""Who may use what: every route of the router, with every role, for own and others' jobs."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from imgsvc.errors import RoleMissing
from imgsvc.jobs.ledger import Bill, Limits
from imgsvc.jobs.models import Job
from imgsvc.web.auth.guard import Guard
from imgsvc.web.auth.roles import Role
from imgsvc.web.auth.rules import PUBLIC
from imgsvc.web.auth.throttle import Throttle
from imgsvc.web.keys import CONTEXT
from jobs.calls import new_call
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of
from web.refusals import PHOTO

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
SUBMIT = "/process-image-async-b64"
CHOICES = [set(each) for each in chain.from_iterable(combinations(Role, n) for n in range(5))]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    async with guarded_service(tmp_path_factory.mktemp("guarded") / "data") as caller:
        yield caller


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anns_job(service: Caller) -> Job:
    key = await key_of(service, "ann", [Role.SUBMIT])
    headers = {"X-API-Key": key, "callbackUrl": service.receiver.url}
    status, accepted, _ = await ask(service, "POST", SUBMIT, headers, PHOTO)
    assert status == 202, accepted
    return await service.until(accepted["job_id"], lambda job: job.finished_at is not None)


def routes(service: Caller) -> list[tuple[str, str]]:
    """Return method and path of everything that the router leads somewhere."""
    router = service.server.service.app.router
    return [
        (route.method, route.resource.canonical)
        for route in router.routes()
        if route.resource is not None
    ]


def answers(document: Any) -> str:
    code = document.get("code") if isinstance(document, dict) else None
    if code in {"credentials_missing", "role_missing", "job_not_found"}:
        return str(code)
    return "in"  # past the guard, whatever the handler then says to a request with nothing in it


def expected(rule_roles: tuple[Role, ...], has: set[Role], *, is_job: bool, own: bool) -> str:
    if rule_roles and not has & set(rule_roles):
        return "role_missing"
    return "job_not_found" if is_job and not own and Role.OPERATE not in has else "in"


async def test_every_route_lets_in_who_has_a_role_for_it_and_shows_no_job_of_another(
    service: Caller, anns_job: Job
) -> None:
    rules = service.server.service.app[CONTEXT].guard.rules
    asked = 0
    for has in CHOICES:
        for client in ("ann", "bob"):
            key = await key_of(service, client, has)
            for method, path in routes(service):
                rule = rules["GET" if method == "HEAD" else method, path]
                url = path.replace("{job_id}", anns_job.id)
                wanted = expected(
                    rule.roles, has, is_job="{job_id}" in path, own=client == anns_job.client
                )
                if method == "HEAD" and wanted != "in":
                    continue  # its answer has no body to tell the reason; GET has the same rule
                _, document, _ = await ask(service, method, url, {"X-API-Key": key})
                assert answers(document) == wanted, (has, client, method, path)
                asked += 1
    assert asked > 500


async def test_without_a_key_only_what_is_public_answers(service: Caller, anns_job: Job) -> None:
    rules = service.server.service.app[CONTEXT].guard.rules
    for method, path in routes(service):
        url = path.replace("{job_id}", anns_job.id)
        status, document, headers = await ask(service, method, url)
        if rules["GET" if method == "HEAD" else method, path].is_public:
            assert answers(document) == "in", path
        else:
            assert status == 401, path
            assert headers["WWW-Authenticate"] == 'Bearer realm="imgsvc"'


async def test_a_route_without_a_rule_is_closed_to_everybody() -> None:
    app = web.Application()

    async def handler(_request: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/forgotten", handler)
    request = make_mocked_request("GET", "/forgotten", app=app)
    match = await app.router.resolve(request)
    request._match_info = match  # noqa: SLF001 - as the application does
    for rules in ({}, {("POST", "/forgotten"): PUBLIC}):
        with pytest.raises(RoleMissing):
            await Guard(rules, Throttle(limit=1, window=1)).admit(request)


async def test_every_route_has_a_rule(service: Caller) -> None:
    rules = service.server.service.app[CONTEXT].guard.rules
    for method, path in routes(service):
        assert ("GET" if method == "HEAD" else method, path) in rules


async def test_the_matrix_in_the_documents_is_the_programs(service: Caller) -> None:
    rules = service.server.service.app[CONTEXT].guard.rules
    matrix = {f"{method} {path}": rule.meaning for (method, path), rule in rules.items()}
    print(*(f"{route:45} {meaning}" for route, meaning in matrix.items()), sep="\n")  # noqa: T201 - to be read
    rows = re.findall(r"^\| `((?:GET|POST) [^`]+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert dict(rows) == matrix


async def test_a_list_has_own_jobs_alone_unless_one_operates(
    service: Caller, anns_job: Job
) -> None:
    shown = {}
    for client, role in (("ann", Role.READ), ("bob", Role.READ), ("bob", Role.OPERATE)):
        key = await key_of(service, client, [role])
        _, listed, _ = await ask(service, "GET", "/jobs", {"X-API-Key": key})
        shown[client, role] = {job["job_id"] for job in listed["jobs"]}
    assert anns_job.id in shown["ann", Role.READ]
    assert shown["bob", Role.READ] == set()
    assert shown["bob", Role.OPERATE] >= shown["ann", Role.READ]


async def test_a_cursor_of_one_client_is_none_for_another(service: Caller, anns_job: Job) -> None:
    del anns_job
    keys = {name: await key_of(service, name, [Role.READ, Role.SUBMIT]) for name in ("ann", "bob")}
    headers = {"X-API-Key": keys["ann"], "Prefer": "respond-async"}
    assert (await ask(service, "POST", SUBMIT, headers, PHOTO))[0] == 202
    _, page, _ = await ask(service, "GET", "/jobs?limit=1", headers)
    following = f"/jobs?limit=1&cursor={page['next_cursor']}"
    assert (await ask(service, "GET", following, headers))[0] == 200
    status, problem, _ = await ask(service, "GET", following, {"X-API-Key": keys["bob"]})
    assert (status, problem["code"]) == (400, "invalid_cursor")


async def test_the_same_idempotency_key_of_two_clients_means_two_jobs(service: Caller) -> None:
    jobs = set()
    for name in ("ann", "bob"):
        key = await key_of(service, name, [Role.SUBMIT])
        headers = {"X-API-Key": key, "Prefer": "respond-async", "Idempotency-Key": "same"}
        _, accepted, _ = await ask(service, "POST", SUBMIT, headers, PHOTO)
        jobs.add(accepted["job_id"])
    assert len(jobs) == 2


async def test_a_job_that_an_operator_does_again_stays_its_clients(
    service: Caller, anns_job: Job
) -> None:
    key = await key_of(service, "eve", [Role.OPERATE])
    _, problem, _ = await ask(service, "POST", f"/jobs/{anns_job.id}/retry", {"X-API-Key": key})
    assert problem["code"] == "job_not_retryable"  # it is done
    anns = await key_of(service, "ann", [Role.SUBMIT])
    headers = {"X-API-Key": anns, "Prefer": "respond-async"}
    broken = PHOTO | {"image_base64": None, "image_url": service.receiver.url}
    _, accepted, _ = await ask(service, "POST", SUBMIT, headers, broken)
    await service.until(accepted["job_id"], lambda job: job.finished_at is not None)
    path = f"/jobs/{accepted['job_id']}/retry"
    _, again, _ = await ask(service, "POST", path, {"X-API-Key": key})
    assert (await service.server.service.backend.get(again["job_id"])).client == "ann"


async def test_only_an_operator_sees_what_others_have_cost(service: Caller, anns_job: Job) -> None:
    ledger = service.server.service.backend.ledger
    call = replace(new_call(anns_job, estimate=1000), at=datetime.now(UTC))
    assert await ledger.reserve(call, Limits()) is None
    ledger.settle(call.id, Bill(cost=1000))
    seen = {}
    for client, role in (("ann", Role.READ), ("bob", Role.READ), ("eve", Role.OPERATE)):
        key = await key_of(service, client, [role])
        _, report, _ = await ask(service, "GET", "/usage?group_by=client", {"X-API-Key": key})
        seen[client] = [row["client"] for row in report["rows"]], report["total"]["calls"]
    assert seen == {"ann": (["ann"], 1), "bob": ([], 0), "eve": (["ann"], 1)}


async def test_metrics_may_be_made_public(tmp_path: Path) -> None:
    async with guarded_service(tmp_path / "data", auth={"public_metrics": True}) as caller:
        assert (await ask(caller, "GET", "/metrics"))[0] == 200
        assert (await ask(caller, "GET", "/jobs"))[0] == 401
