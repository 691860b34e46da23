"""API keys, from those who have one, had one, or never did."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.errors import CredentialsInvalid
from imgsvc.web.auth import api_keys
from imgsvc.web.auth.api_keys import KeyVerifier, new_key
from imgsvc.web.auth.roles import Role
from standins.logs import logging_of_our_own
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = timedelta(hours=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    auth = {"max_failures": 1000}  # the tests of this module have many
    async with guarded_service(tmp_path_factory.mktemp("keys") / "data", auth=auth) as caller:
        yield caller


async def refused(service: Caller, headers: Any) -> tuple[int, str, str]:
    """Return status, code and what the server asks for."""
    status, problem, answered = await ask(service, "GET", "/jobs", headers)
    return status, problem["code"], answered.get("WWW-Authenticate", "")


@pytest.mark.parametrize(
    "form",
    ["X-API-Key: {}", "x-api-key:   {}  ", "Authorization: Bearer {}", "authorization: bEARER  {}"],
)
async def test_a_key_is_taken_in_either_header(service: Caller, form: str) -> None:
    key = await key_of(service, "ann", [Role.READ])
    name, _, value = form.format(key).partition(":")
    assert (await ask(service, "GET", "/jobs", {name: value}))[0] == 200


async def test_a_missing_key_is_asked_for(service: Caller) -> None:
    assert await refused(service, {}) == (401, "credentials_missing", 'Bearer realm="imgsvc"')


async def test_two_keys_are_refused_even_if_they_are_the_same(service: Caller) -> None:
    key = await key_of(service, "ann", [Role.READ])
    for headers in (
        [("X-API-Key", key), ("Authorization", f"Bearer {key}")],
        [("X-API-Key", key), ("X-API-Key", key)],
        [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")],
    ):
        status, code, asked = await refused(service, headers)
        assert (status, code) == (400, "credentials_ambiguous")
        assert 'error="invalid_request"' in asked


async def test_whatever_is_no_key_is_refused_alike(service: Caller) -> None:
    key = await key_of(service, "ann", [Role.READ])
    other = await key_of(service, "bob", [Role.READ])
    answers = set()
    for wrong in (
        key[:-1],
        f"{key}x",
        key.upper(),
        key[:-1] + ("a" if key[-1] != "a" else "b"),
        key[:17] + other[17:],  # one key's id with another's secret
        new_key("ann", [Role.READ])[1],  # of the right form, and not kept
        f"{key},{key}",
        "imgsvc_",
        "' OR 1=1 --",
        "x" * 30_000,
        key.split("_", 2)[2],
        "",
    ):
        status, problem, headers = await ask(service, "GET", "/jobs", {"X-API-Key": wrong})
        del problem["request_id"]
        answers.add((status, json.dumps(problem), headers["WWW-Authenticate"]))
    [(status, problem, asked)] = answers
    assert (status, asked) == (401, 'Bearer realm="imgsvc", error="invalid_token"')
    assert "credentials_invalid" in problem


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Digest x", "bearer\t{}", "{}"])
async def test_another_form_of_authorization_is_refused(service: Caller, value: str) -> None:
    key = await key_of(service, "ann", [Role.READ])
    status, code, _ = await refused(service, {"Authorization": value.format(key)})
    assert (status, code) == (401, "credentials_invalid")


async def raw(service: Caller, header: bytes) -> int:
    """Send a request with a header of any bytes, and return the status."""
    host, port = service.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n")
    status = await reader.readline()
    writer.close()
    return int(status.split()[1])


@pytest.mark.parametrize(
    "key",
    ["ключ".encode(), b"\xff\xfe", b"imgsvc_" + "é".encode() * 30, "imgsvc_\uff11\uff12".encode()],
)
async def test_a_key_that_is_not_ascii_is_refused_like_any_other(
    service: Caller, key: bytes
) -> None:
    assert await raw(service, b"X-API-Key: " + key) == 401
    assert await raw(service, b"Authorization: Bearer " + key) == 401


async def test_a_key_of_a_megabyte_does_not_get_past_the_head_of_the_request(
    service: Caller,
) -> None:
    assert await raw(service, b"X-API-Key: " + b"x" * 2**20) == 431
    assert await raw(service, b"X-API-Key: " + b"x" * 31_000) == 401


async def test_a_key_in_a_cookie_or_a_query_is_none(service: Caller) -> None:
    key = await key_of(service, "ann", [Role.READ])
    status, _, _ = await ask(service, "GET", f"/jobs?api_key={key}", {"Cookie": f"X-API-Key={key}"})
    assert status == 401


async def test_a_revoked_or_expired_key_is_none_at_once(service: Caller) -> None:
    keys = service.server.service.backend.api_keys
    expired = await key_of(service, "ann", [Role.READ], expires_at=datetime.now(UTC))
    key = await key_of(service, "ann", [Role.READ], expires_at=datetime.now(UTC) + HOUR)
    assert (await ask(service, "GET", "/jobs", {"X-API-Key": key}))[0] == 200
    await keys.revoke(key.split("_")[1], datetime.now(UTC))
    for each, word in ((key, "revoked"), (expired, "expired")):
        status, problem, _ = await ask(service, "GET", "/jobs", {"X-API-Key": each})
        assert (status, problem["code"]) == (401, "credentials_invalid")
        assert word in problem["detail"]
        forged = each[:-1] + ("a" if each[-1] != "a" else "b")
        _, problem, _ = await ask(service, "GET", "/jobs", {"X-API-Key": forged})
        assert word not in problem["detail"]


async def test_a_missing_role_is_named(service: Caller) -> None:
    key = await key_of(service, "ann", [Role.READ])
    status, problem, headers = await ask(service, "GET", "/cos/config", {"X-API-Key": key})
    assert (status, problem["code"]) == (403, "role_missing")
    assert "admin" in problem["detail"]
    assert 'error="insufficient_scope"' in headers["WWW-Authenticate"]


async def test_who_may_not_submit_is_told_before_the_body_is_read(service: Caller) -> None:
    key = await key_of(service, "ann", [Role.READ])
    header = b"X-API-Key: " + key.encode() + b"\r\nContent-Length: 1000000"
    host, port = service.server.url.removeprefix("http://").split(":")
    for line, wanted in ((header, b"403"), (b"Content-Length: 1000000", b"401")):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /process-image-async HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
        assert wanted in await reader.readline()
        writer.close()


async def test_when_a_key_was_used_is_written_once_a_minute(
    service: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = service.server.service.backend.api_keys
    key = await key_of(service, "ann", [Role.READ])
    key_id = key.split("_")[1]
    times = []
    for every in (api_keys.USE_NOTED_EVERY, api_keys.USE_NOTED_EVERY, timedelta()):
        monkeypatch.setattr(api_keys, "USE_NOTED_EVERY", every)
        await ask(service, "GET", "/jobs", {"X-API-Key": key})
        found = await keys.find(key_id)
        assert found is not None
        times.append(found.last_used_at)
    assert times[0] == times[1] != times[2]


async def test_digests_are_compared_also_for_an_id_that_does_not_exist(
    service: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    verifier = KeyVerifier(service.server.service.backend.api_keys)
    with pytest.raises(CredentialsInvalid):
        await verifier.verify(new_key("ann", [Role.READ])[1])
    # Not even a digest of zeros is the secret of a key that does not exist.
    monkeypatch.setattr(api_keys, "_digest", lambda _secret: bytes(32))
    with pytest.raises(CredentialsInvalid):
        await verifier.verify(new_key("ann", [Role.READ])[1])
    assert compared == [(32, 32)] * 2


async def test_no_key_is_in_the_record_a_log_an_answer_or_a_figure(tmp_path: Path) -> None:
    with logging_of_our_own() as configure:
        lines = configure(level="debug")
        async with guarded_service(tmp_path / "data") as service:
            key = await key_of(service, "ann", list(Role))
            wrong = new_key("ann", [Role.READ])[1]
            paths = ("/jobs", "/metrics", "/cos/config", "/health", "/nowhere")
            seen = [
                str(await ask(service, "GET", path, {"X-API-Key": each}))
                for each in (key, wrong)
                for path in paths
            ]
    text = lines.text()
    record = b"".join(file.read_bytes() for file in (tmp_path / "data").glob("jobs.db*"))
    for secret in (each.split("_", 2)[2] for each in (key, wrong)):
        assert secret.encode() not in record
        assert secret not in "".join(seen)
        assert secret not in text
    assert "credentials_invalid" in text


async def test_without_authentication_keys_are_not_looked_at(tmp_path: Path) -> None:
    async with guarded_service(tmp_path / "data", auth={"mode": "none"}) as service:
        for headers in ({}, {"X-API-Key": "x"}, [("X-API-Key", "x"), ("X-API-Key", "y")]):
            assert (await ask(service, "GET", "/jobs", headers))[0] == 200
