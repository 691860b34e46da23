"""Keys of callers, as admins make, end and replace them over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openapi_schema_validator import OAS30ReadValidator, oas30_format_checker

from imgsvc.web import openapi
from imgsvc.web.auth.roles import Role
from imgsvc.web.body import SMALL
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of
from web.refusals import assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPONENTS = openapi.document("https://images.example.com", full=True)["components"]
WANTED = {"client": "shop", "roles": ["read"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    async with guarded_service(tmp_path_factory.mktemp("keys") / "data") as caller:
        yield caller


async def as_admin(
    service: Caller, method: str, path: str, body: Any = None
) -> tuple[int, Any, dict[str, str]]:
    key = await key_of(service, "root", [Role.ADMIN])
    return await ask(service, method, path, {"X-API-Key": key}, body)


async def works(service: Caller, key: str) -> bool:
    return (await ask(service, "GET", "/jobs", {"X-API-Key": key}))[0] == 200


def check(body: Any, name: str) -> None:
    """Check an answer against a schema of the document."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": COMPONENTS}
    OAS30ReadValidator(schema, format_checker=oas30_format_checker).validate(body)


async def test_a_key_is_shown_once_and_works_at_once(service: Caller) -> None:
    end = datetime.now(UTC) + timedelta(days=90)
    wanted = WANTED | {"expires_at": end.isoformat()}
    status, made, headers = await as_admin(service, "POST", "/keys", wanted)
    assert (status, headers["Cache-Control"]) == (201, "no-store")
    check(made, "NewKeyView")
    assert (made["client"], made["roles"], made["state"]) == ("shop", ["read"], "valid")
    assert datetime.fromisoformat(made["expires_at"]) == end
    assert await works(service, made["key"])

    status, listed, _ = await as_admin(service, "GET", "/keys")
    assert status == 200
    check(listed, "KeyList")
    [found] = [key for key in listed["keys"] if key["id"] == made["id"]]
    assert found["last_used_at"]
    assert made["key"].split("_", 2)[2] not in json.dumps(listed)


async def test_a_key_is_replaced_at_once_or_after_a_while(service: Caller) -> None:
    _, old, _ = await as_admin(service, "POST", "/keys", WANTED)
    status, new, headers = await as_admin(service, "POST", f"/keys/{old['id']}/rotate")
    assert (status, headers["Cache-Control"]) == (201, "no-store")
    check(new, "NewKeyView")
    assert (new["client"], new["roles"]) == ("shop", ["read"])
    assert await works(service, old["key"])
    assert await works(service, new["key"])
    body = {"overlap_seconds": 0}
    status, newest, _ = await as_admin(service, "POST", f"/keys/{new['id']}/rotate", body)
    assert status == 201
    assert not await works(service, new["key"])
    assert await works(service, newest["key"])
    _, again, _ = await as_admin(service, "POST", f"/keys/{new['id']}/rotate", body)
    assert "expires_at" not in newest | again


@pytest.mark.parametrize("rotations", [1, 3])
async def test_a_key_that_ends_has_successors_that_live_as_long(
    service: Caller, rotations: int
) -> None:
    def life(key: Any) -> timedelta:
        return datetime.fromisoformat(key["expires_at"]) - datetime.fromisoformat(key["created_at"])

    end = datetime.now(UTC) + timedelta(days=90)
    _, key, _ = await as_admin(service, "POST", "/keys", WANTED | {"expires_at": end.isoformat()})
    for _ in range(rotations):
        status, new, _ = await as_admin(service, "POST", f"/keys/{key['id']}/rotate")
        assert status == 201
        assert abs(life(new) - life(key)) < timedelta(seconds=1)
        key = new
    _, again, _ = await as_admin(service, "POST", f"/keys/{key['id']}/rotate")
    _, twice, _ = await as_admin(service, "POST", f"/keys/{key['id']}/rotate")
    for made in (again, twice):  # the overlap is not what the key was made for
        assert abs(life(made) - life(key)) < timedelta(seconds=1)
    other = {"expires_at": (end + timedelta(days=9)).isoformat()}
    _, longer, _ = await as_admin(service, "POST", f"/keys/{key['id']}/rotate", other)
    assert datetime.fromisoformat(longer["expires_at"]) == end + timedelta(days=9)


async def test_a_revoked_key_ends_at_once_and_has_no_successor(service: Caller) -> None:
    _, made, _ = await as_admin(service, "POST", "/keys", WANTED)
    for _ in range(2):
        status, ended, _ = await as_admin(service, "POST", f"/keys/{made['id']}/revoke")
        assert (status, ended["state"]) == (200, "revoked")
        check(ended, "KeyView")
    assert not await works(service, made["key"])
    status, problem, _ = await as_admin(service, "POST", f"/keys/{made['id']}/rotate")
    assert status == 409
    assert_problem(status, problem, "key_revoked")


@pytest.mark.parametrize("key_id", ["aaaaaaaaaa", "x", "%27--", "A" * 10, "a" * 5000])
@pytest.mark.parametrize("what", ["rotate", "revoke"])
async def test_a_key_that_there_is_not_is_not_found(
    service: Caller, key_id: str, what: str
) -> None:
    status, problem, _ = await as_admin(service, "POST", f"/keys/{key_id}/{what}")
    assert status == 404
    assert_problem(status, problem, "key_not_found")


async def test_what_is_done_to_keys_is_in_the_audit_log(service: Caller) -> None:
    _, made, _ = await as_admin(service, "POST", "/keys", WANTED)
    path = f"/keys/{made['id']}"
    await as_admin(service, "POST", f"{path}/rotate")
    await as_admin(service, "POST", f"{path}/revoke")
    await as_admin(service, "POST", f"{path}/rotate")
    bobs = await key_of(service, "bob", [Role.OPERATE])
    await ask(service, "POST", f"{path}/revoke", {"X-API-Key": bobs})
    _, page, _ = await as_admin(service, "GET", f"/audit?target={made['id']}")
    assert [(row["actor"], row["action"], row["outcome"]) for row in page["rows"]] == [
        ("bob", "key.revoke", "role_missing"),
        ("root", "key.rotate", "key_revoked"),
        ("root", "key.revoke", "done"),
        ("root", "key.rotate", "done"),
        ("root", "key.create", "done"),
    ]


async def test_of_a_key_that_many_end_and_replace_at_once_the_rows_tell_what_came_of_it(
    service: Caller,
) -> None:
    _, made, _ = await as_admin(service, "POST", "/keys", WANTED)
    path = f"/keys/{made['id']}"
    asked = [f"{path}/rotate"] * 10 + [f"{path}/revoke"] * 5 + [f"{path}/rotate"] * 10
    answers = await asyncio.gather(*(as_admin(service, "POST", each) for each in asked))
    rotated = sum(status == 201 for status, _, _ in answers)
    assert rotated == sum(status != 409 for status, _, _ in answers) - 5
    _, page, _ = await as_admin(service, "GET", f"/audit?target={made['id']}&limit=200")
    done = [row["action"] for row in page["rows"] if row["outcome"] == "done"]
    assert (done.count("key.rotate"), done.count("key.revoke")) == (rotated, 1)
    assert done.index("key.revoke") == 0  # the newest: there is no successor behind it


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"roles": ["read"]}, "client"),
    ({"client": "shop"}, "roles"),
    (WANTED | {"client": ""}, "client"),
    (WANTED | {"client": "a b"}, "client"),
    (WANTED | {"client": "x" * 65}, "client"),
    (WANTED | {"client": "shop\u202e"}, "client"),
    (WANTED | {"client": "cli:root"}, "client"),
    (WANTED | {"client": 7}, "client"),
    (WANTED | {"roles": []}, "roles"),
    (WANTED | {"roles": ["root"]}, "roles.0"),
    (WANTED | {"roles": "admin"}, "roles"),
    (WANTED | {"roles": ["read"] * 5}, "roles"),
    (WANTED | {"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    (WANTED | {"expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
    (WANTED | {"expires_at": "2027-01-01"}, "expires_at"),
    (WANTED | {"expires_at": None}, "expires_at"),
    (WANTED | {"expires_at": 4e9}, "expires_at"),
    (WANTED | {"expires_at": 1e308}, "expires_at"),
    (WANTED | {"key": "imgsvc_of_my_own"}, "key"),
]


@pytest.mark.parametrize(("body", "field"), WRONG, ids=range(len(WRONG)))
async def test_a_wrong_field_is_named_and_no_key_made(
    service: Caller, body: dict[str, Any], field: str
) -> None:
    before = await service.server.service.backend.api_keys.list()
    key = await key_of(service, "root", [Role.ADMIN])
    status, problem, _ = await ask(service, "POST", "/keys", {"X-API-Key": key}, body)
    assert status == 422
    assert_problem(status, problem, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert len(await service.server.service.backend.api_keys.list()) == len(before) + 1


BODIES: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"", {}, 400, "invalid_json"),
    (b"[]", {}, 422, "invalid_request"),
    (b"null", {}, 422, "invalid_request"),
    (b'{"client": "shop", "client": "eve", "roles": ["read"]}', {}, 400, "invalid_json"),
    (b'{"client": "shop", "roles": ["read"], "roles": ["admin"]}', {}, 400, "invalid_json"),
    (b'{"client": "shop\\u0000", "roles": ["read"]}', {}, 400, "control_character"),
    (b'{"client": "shop\\n", "roles": ["read"]}', {}, 400, "control_character"),
    (b'{"client": "shop", "roles": ["read\\n"]}', {}, 400, "control_character"),
    (b'{"client": "shop", "roles": [NaN]}', {}, 400, "invalid_json"),
    (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", {}, 400, "invalid_json"),
    (b"[" * SMALL, {}, 400, "invalid_json"),
    (b'{"client": "\xff"}', {}, 400, "invalid_json"),
    (b'{"a": ' + b"9" * 5000 + b"}", {}, 400, "invalid_json"),
    (b" " * (SMALL + 1), {}, 413, "body_too_large"),
    (b"{}", {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
    (b"client=shop", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), BODIES, ids=range(len(BODIES)))
async def test_a_body_that_two_readers_may_take_for_different_things_makes_no_key(
    service: Caller, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    key = await key_of(service, "root", [Role.ADMIN])
    given = {"Content-Type": "application/json", "X-API-Key": key} | headers

    async def in_chunks() -> AsyncIterator[bytes]:
        yield body[:7]
        yield body[7:]

    for data in (body, in_chunks()):
        async with service.session.post(
            f"{service.server.url}/keys", data=data, headers=given
        ) as answer:
            problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (status, code)


async def test_an_overlap_that_makes_no_sense_changes_nothing(service: Caller) -> None:
    _, made, _ = await as_admin(service, "POST", "/keys", WANTED)
    for overlap in (-1, 1e9, 0.5, True, "60", None):
        body = {"overlap_seconds": overlap}
        status, problem, _ = await as_admin(service, "POST", f"/keys/{made['id']}/rotate", body)
        assert (status, problem["code"]) == (422, "invalid_request"), overlap
    assert await works(service, made["key"])


@pytest.mark.parametrize("roles", [[Role.OPERATE, Role.SUBMIT, Role.READ], []])
async def test_only_an_admin_makes_ends_and_sees_keys(service: Caller, roles: list[Role]) -> None:
    key = await key_of(service, "shop", roles)
    own = key.split("_")[1]
    for method, path in (
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("POST", f"/keys/{own}/rotate"),
        ("POST", f"/keys/{own}/revoke"),
    ):
        status, problem, _ = await ask(service, method, path, {"X-API-Key": key}, WANTED)
        assert (status, problem["code"]) == (403, "role_missing")


async def test_no_key_is_made_for_later_while_nobody_has_to_prove_who_they_are(
    tmp_path: Path,
) -> None:
    async with guarded_service(tmp_path / "data", auth={"mode": "none"}) as service:
        kept = (await key_of(service, "shop", [Role.READ])).split("_")[1]
        for path in ("/keys", f"/keys/{kept}/rotate", f"/keys/{kept}/revoke"):
            status, problem, _ = await ask(service, "POST", path, body=WANTED)
            assert status == 409
            assert_problem(status, problem, "keys_not_in_force")
        [key] = await service.server.service.backend.api_keys.list()
    assert key.revoked_at is None
