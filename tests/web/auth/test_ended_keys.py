"""API keys that end while a request of theirs goes on."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.web.auth.roles import Role
from standins.receiver import hang
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of
from web.raw_sockets import connection
from web.refusals import PATHS, PHOTO

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY_OF_ROOT = {"client": "root", "roles": ["admin"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Caller]:
    async with guarded_service(tmp_path_factory.mktemp("ended") / "data") as caller:
        yield caller


async def revoke(service: Caller, key: str) -> None:
    keys = service.server.service.backend.api_keys
    assert await keys.revoke(key.split("_")[1], datetime.now(UTC))


@pytest.mark.parametrize(("path", "body"), [(PATHS[0], PHOTO), ("/keys", KEY_OF_ROOT)])
async def test_a_key_that_is_revoked_during_an_upload_does_nothing_with_it(
    service: Caller, path: str, body: Any
) -> None:
    key = await key_of(service, "leaver", list(Role))
    keys = await service.server.service.backend.api_keys.list()
    data = json.dumps(body).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"X-API-Key: {key}",
        "Prefer: respond-async",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Expect: 100-continue",
    ]
    async with connection(service.server.url) as (reader, writer):
        writer.write("\r\n".join([*head, "", ""]).encode())
        assert b" 100 " in await reader.readline()  # so the key was good when the request came
        await revoke(service, key)
        writer.write(data)
        assert await reader.readline() == b"\r\n"
        assert b" 401 " in await reader.readline()
    other = {"X-API-Key": await key_of(service, "leaver", [Role.READ])}
    assert (await ask(service, "GET", "/jobs", other))[1]["jobs"] == []
    assert len(await service.server.service.backend.api_keys.list()) == len(keys) + 1


async def test_a_stream_of_events_ends_with_its_readers_key(
    service: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsvc.web.events.HEARTBEAT", 0.05)
    service.receiver.answer_with(hang)
    key = {"X-API-Key": await key_of(service, "reader", list(Role))}
    remote = {"prompt": "x", "image_url": service.receiver.url}
    given = key | {"Prefer": "respond-async"}
    _, accepted, _ = await ask(service, "POST", PATHS[0], given, remote)
    path = f"/jobs/{accepted['job_id']}"
    async with service.session.get(f"{service.server.url}{path}/events", headers=key) as stream:
        while await stream.content.readline() != b": still there\n":
            pass
        await revoke(service, key["X-API-Key"])
        await stream.content.read()  # to its end, though the job has none
    other = {"X-API-Key": await key_of(service, "reader", list(Role))}
    assert (await ask(service, "GET", path, other))[1]["state"] == "running"
    await ask(service, "POST", f"{path}/cancel", other)
