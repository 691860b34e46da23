"""The keys of an issuer: where they come from, and when they are looked for again."""

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs

from imgsvc.errors import TokenKeysUnavailable
from imgsvc.web.auth import key_sets
from imgsvc.web.auth.key_sets import MAX_BYTES, MAX_KEYS, KeyFile, KeySet, KeyUrl, parse
from web.auth.callers import ask, guarded_service
from web.auth.issuing import AUDIENCE, ISSUER, Issuer, KeyServer, key_server

FIRST, SECOND = Issuer(), Issuer(kid="second")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(key_sets, "monotonic", clock)
    return clock


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with key_server() as running:
        yield running


@pytest.fixture
async def keys(server: KeyServer, clock: Clock) -> AsyncIterator[KeySet]:
    del clock  # it stands still from the beginning
    async with aiohttp.ClientSession() as session:
        yield KeySet(KeyUrl(server.url, session))


async def test_a_key_is_fetched_once(server: KeyServer, keys: KeySet) -> None:
    server.show(FIRST.public(), SECOND.public())
    for _ in range(3):
        found = await keys.find("first")
        assert found is not None
        assert (found.kid, found.algorithm) == ("first", "RS256")
    assert server.asked == 1


async def test_an_unknown_key_is_looked_for_but_seldom(
    server: KeyServer, keys: KeySet, clock: Clock
) -> None:
    server.show(FIRST.public())
    for number in range(100):
        assert await keys.find(f"unknown {number}") is None
    assert server.asked == 1
    clock.now += key_sets.PATIENCE
    server.show(FIRST.public(), SECOND.public())
    assert await keys.find("second") is not None
    assert server.asked == 2


async def test_a_withdrawn_key_ends_with_its_set(
    server: KeyServer, keys: KeySet, clock: Clock
) -> None:
    server.show(FIRST.public(), SECOND.public())
    assert await keys.find("first") is not None
    server.show(SECOND.public())
    clock.now += key_sets.LIFETIME + 1
    assert await keys.find("first") is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"keys": []}'),
        (302, b'{"keys": []}'),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"keys": {}}'),
        (200, b" " * (MAX_BYTES + 1)),
        (200, json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode()),
        (200, b"[" * 100_000),
    ],
    ids=str,
)
async def test_a_set_that_cannot_be_read_leaves_the_one_before(
    server: KeyServer, keys: KeySet, clock: Clock, status: int, body: bytes
) -> None:
    server.show(FIRST.public())
    assert await keys.find("first") is not None
    server.status, server.body = status, body
    clock.now += key_sets.LIFETIME + 1
    assert await keys.find("first") is not None
    assert server.asked == 2


async def test_without_any_set_tokens_wait_and_work_once_there_is_one(
    server: KeyServer, keys: KeySet, clock: Clock
) -> None:
    server.status = 503
    for _ in range(3):
        with pytest.raises(TokenKeysUnavailable):
            await keys.find("first")
    assert server.asked == 1
    server.status = 200
    server.show(FIRST.public())
    clock.now += key_sets.PATIENCE
    assert await keys.find("first") is not None


async def test_the_log_says_which_set_cannot_be_read_and_why(
    server: KeyServer, clock: Clock, tmp_path: Path
) -> None:
    gone, secret = tmp_path / "jwks.json", "canary"
    server.status = 403
    with socket.create_server(("127.0.0.1", 0)) as free:
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/keys"
    with capture_logs() as told:
        async with aiohttp.ClientSession() as session:
            for source in (
                KeyFile(gone),
                KeyUrl(f"{server.url}?key={secret}", session),
                KeyUrl(f"{nowhere}?key={secret}", session),
            ):
                with pytest.raises(TokenKeysUnavailable):
                    await KeySet(source).find("first")
            server.status = 200
            server.show(FIRST.public())
            keys = KeySet(KeyUrl(server.url, session))
            await keys.find("first")
            server.body = b"<html>"
            clock.now += key_sets.LIFETIME + 1
            await keys.find("first")
    assert {line["event"] for line in told} == {"token_keys_unreadable"}
    assert [(line["place"], line["mend"].split()[2]) for line in told] == [
        (str(gone), "auth.jwt_jwks_file"),
        (server.url, "auth.jwt_jwks_url"),
        (nowhere, "auth.jwt_jwks_url"),
        (server.url, "auth.jwt_jwks_url"),
    ]
    for line, error in zip(
        told, ("No such file", "status 403", "no connection: ", "unexpected character"), strict=True
    ):
        assert error in line["error"]
    assert ["503" in line["effect"] for line in told] == [True, True, True, False]
    assert secret not in str(told)


async def test_a_file_is_read_again_and_one_that_is_gone_leaves_its_keys(
    tmp_path: Path, clock: Clock
) -> None:
    file = tmp_path / "jwks.json"
    keys = KeySet(KeyFile(file), lifetime=key_sets.FILE_LIFETIME)
    with pytest.raises(TokenKeysUnavailable):
        await keys.find("first")
    for issuer in (FIRST, SECOND):
        file.write_text(json.dumps({"keys": [issuer.public()]}))
        clock.now += key_sets.FILE_LIFETIME + 1
        assert await keys.find(issuer.kid) is not None
    assert await keys.find("first") is None
    file.unlink()
    clock.now += key_sets.FILE_LIFETIME + 1
    assert await keys.find("second") is not None


def test_only_public_keys_for_signatures_that_are_long_enough_are_taken() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=2047)  # noqa: S505 - refused
    entries = [
        Issuer(key=weak).public(),
        FIRST.public(key_ops=["encrypt"]),
        FIRST.public(key_ops=["sign"]),
        FIRST.public(key_ops="verify"),
        FIRST.public(key_ops=None),
        FIRST.public(use="enc"),
        FIRST.public(d="AQAB"),
        FIRST.public(kty="oct", k="c2VjcmV0"),
        FIRST.public(kid=7),
        FIRST.public(alg=7),
        FIRST.public(n="?"),
        FIRST.public(kty="RSB"),
        FIRST.public(kty=["RSA"]),
        FIRST.public(kty={}),
        "key",
        FIRST.public(kid="good", key_ops=["verify"]),
    ]
    found = parse(json.dumps({"keys": entries}).encode())
    assert [key.kid for key in found] == ["good"]


async def test_a_token_without_a_name_goes_with_the_only_key(
    server: KeyServer, keys: KeySet, clock: Clock
) -> None:
    server.show(FIRST.public())
    assert await keys.find(None) is not None
    server.show(FIRST.public(), SECOND.public())
    clock.now += key_sets.LIFETIME + 1
    assert await keys.find(None) is None


async def test_a_server_starts_without_its_issuer_and_says_so(tmp_path: Path) -> None:
    auth = {
        "mode": "jwt",
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_jwks_url": "http://127.0.0.1:9/jwks.json",
    }
    async with guarded_service(tmp_path / "data", auth=auth) as service:
        headers = {"Authorization": f"Bearer {FIRST.token()}"}
        status, problem, answered = await ask(service, "GET", "/jobs", headers)
    assert (status, problem["code"]) == (503, "token_keys_unavailable")
    assert "Retry-After" in answered
