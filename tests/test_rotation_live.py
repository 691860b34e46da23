"""Keys are replaced under a server at work, and no job fails for it."""

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from standardwebhooks import Webhook

from imgsvc.config import load_settings, rotation
from imgsvc.secrets import files, renewals
from standins.configuration import Environment, secret_file
from standins.forward_proxy import ForwardProxy, forward_proxy
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import as_base64, picture
from standins.receiver import Received, Receiver
from standins.s3 import ACCOUNT, OTHER_SECRET, OTHER_USER, S3Server
from standins.server_process import server_process
from standins.service import Caller, running_service
from standins.vault import vault_standin

OLD, NEW = (f"whsec_{base64.b64encode(letter * 24).decode()}" for letter in (b"o", b"n"))
PATH = "/process-image-async-b64"
PHOTO = {"prompt": "x", "image_base64": as_base64(picture()), "fallback": "never"}
NEVER, AT_ONCE = 3600.0, 0.02  # seconds from one look at the files to the next


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    """Configure a server for the folder's `secrets`, which count as whole at once."""
    monkeypatch.setattr(files, "SETTLED", 0)
    monkeypatch.setattr(renewals, "PATIENCE", 0)
    environment = Environment(monkeypatch, tmp_path)
    Path("secrets").mkdir()
    environment(
        IMGSVC_SECRETS_DIR=str(tmp_path / "secrets"),
        IMGSVC_DATA_DIR=str(tmp_path / "data"),
        IMGSVC_SERVER__PORT="0",
        IMGSVC_IMAGES__PROCESSES="1",
    )
    return environment


def signers(received: Received) -> list[str]:
    """Return which of the two secrets have signed a callback."""
    return [which for which, secret in (("old", OLD), ("new", NEW)) if is_signed(received, secret)]


def is_signed(received: Received, secret: str) -> bool:
    try:
        Webhook(secret).verify(received.body, dict(received.headers))
    except Exception:  # noqa: BLE001 - whatever the library says, it is not
        return False
    return True


@pytest.mark.slow
async def test_a_server_process_changes_over_while_a_job_is_in_work(
    tmp_path: Path, env: Environment, standin: OpenAIStandin, receiver: Receiver
) -> None:
    async def submit(session: aiohttp.ClientSession, url: str) -> None:
        headers = {"callbackUrl": receiver.url}
        async with session.post(url + PATH, json=PHOTO, headers=headers) as answer:
            assert answer.status == 202

    secret_file("openai__api_key", standin.api_key)
    secret_file("callbacks__signing_secrets", json.dumps([OLD]))
    env(OPENAI_BASE_URL=standin.base_url)
    async with server_process(tmp_path / "data") as server, aiohttp.ClientSession() as session:
        standin.answering.clear()
        await submit(session, server.url)
        await standin.arrived.wait()
        secret_file("openai__api_key", "sk-new")
        secret_file("callbacks__signing_secrets", json.dumps([NEW, OLD]))
        server.process.send_signal(signal.SIGHUP)
        renewed = await server.event("secrets_renewed")
        assert renewed["settings"] == ["openai.api_key", "callbacks.signing_secrets"]
        standin.api_key = "sk-new"
        standin.answering.set()
        await submit(session, server.url)
        for _ in range(2):
            callback = await receiver.next()
            assert callback.json["provider"] == "openai"
            assert signers(callback) == ["old", "new"]
        os.kill(server.process.pid, signal.SIGTERM)
        assert await server.process.wait() == 0
    assert "sk-new" not in "".join(server.output)
    assert not any(secret in line for line in server.output for secret in (OLD, NEW))


@pytest.mark.slow
async def test_a_hang_up_while_the_server_starts_has_secrets_read_once_it_has(
    tmp_path: Path,
) -> None:
    secret_file("openai__api_key", "sk-1")
    async with vault_standin() as vault:
        vault.answering.clear()
        async with server_process(
            tmp_path / "data", started=False, environment=vault.environment
        ) as server:
            await vault.arrived.wait()  # it reads its configuration
            for _ in range(1000):
                server.process.send_signal(signal.SIGHUP)
            vault.answering.set()
            started = await server.event("service_started")
            assert started["secrets"] == ["files", "vault"]
            while vault.asked.count(f"GET secret/data/{vault.SECRET}") < 2:
                vault.arrived.clear()
                await vault.arrived.wait()
            server.process.send_signal(signal.SIGTERM)
            assert await server.process.wait() == 0


@pytest.mark.parametrize("room", ["callbacks", "clients__127_0_0_1"])
async def test_callbacks_are_signed_by_both_secrets_while_receivers_change_over(
    env: Environment, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    monkeypatch.setattr(rotation, "FILES_INTERVAL", AT_ONCE)
    name = f"{room}__signing_secrets"
    secret_file(name, json.dumps([OLD]))
    env(IMGSVC_LOGS__LEVEL="error", IMGSVC_CLIENTS='{"127.0.0.1": {"max_priority": 9}}')
    async with running_service(load_settings()) as caller:
        for secrets, expected in (
            ([OLD], ["old"]),
            ([NEW, OLD], ["old", "new"]),
            (["whsec_no!"], ["old", "new"]),
            ([NEW], ["new"]),
        ):
            before = reads(caller)
            secret_file(name, json.dumps(secrets))
            await looked(caller, before)
            await caller.submit(PATH, PHOTO | {"model": "local", "prompt": "grayscale"})
            assert signers(await caller.receiver.next()) == expected
        async with caller.session.get(f"{caller.server.url}/metrics") as answer:
            figures = await answer.text()
        for outcome in ("read", "refused"):
            assert f'imgsvc_secrets_reads_total{{outcome="{outcome}",source="files"}} ' in figures


def reads(caller: Caller) -> int:
    return caller.server.service.rotation.renewals.reads.total()


async def looked(caller: Caller, before: int) -> None:
    """Wait until a look has begun and ended since there had been so many."""
    while reads(caller) < before + 2:  # noqa: ASYNC110 - a look is no event
        await asyncio.sleep(AT_ONCE)


@pytest.mark.parametrize("moderated", [False, True], ids=["edit", "moderation"])
async def test_a_call_that_is_refused_is_made_again_with_the_key_that_is_there_by_now(
    env: Environment,
    standin: OpenAIStandin,
    monkeypatch: pytest.MonkeyPatch,
    moderated: bool,
) -> None:
    monkeypatch.setattr(rotation, "FILES_INTERVAL", NEVER)
    secret_file("openai__api_key", standin.api_key)
    env(OPENAI_BASE_URL=standin.base_url, IMGSVC_PROMPTS__MODERATION=str(moderated))
    async with running_service(load_settings()) as caller:
        standin.api_key = "sk-new"
        secret_file("openai__api_key", "sk-new")
        callback = await caller.run(PATH, PHOTO)
        assert (callback["status"], callback["provider"]) == ("completed", "openai")
        asked = [path.removeprefix("/v1/") for path in standin.paths]
        once, twice = "images/edits", ["images/edits"] * 2
        assert asked == (["moderations"] * 2 + [once] if moderated else twice)
        # Without a newer key a refusal is one, and nothing is asked again.
        standin.api_key = "sk-newest"
        callback = await caller.run(PATH, PHOTO)
        assert callback["error"].startswith("ProviderKeyRejected: ")
        edits = standin.paths.count("/v1/images/edits")
        assert edits == asked.count(once) + 1
        # What kept the image API from being asked ends with the wrong key.
        secret_file("openai__api_key", "sk-newest")
        await caller.server.service.rotation.renewals.since(1)
        assert (await caller.run(PATH, PHOTO))["status"] == "completed"


async def test_keys_of_a_bucket_are_replaced_and_what_was_denied_is_done_again(
    env: Environment, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(key_id: str, key: str) -> None:
        secret_file("storage__access_key_id", key_id)
        secret_file("storage__secret_access_key", key)

    monkeypatch.setattr(rotation, "FILES_INTERVAL", NEVER)
    s3_server.create_bucket("rotation")
    env(COS_ENDPOINT=s3_server.endpoint, COS_BUCKET="rotation")
    other = f"{ACCOUNT}:{OTHER_USER}"
    use(other, "revoked")
    async with running_service(load_settings()) as caller:
        users = ((s3_server.access_key, s3_server.secret_key), (other, OTHER_SECRET))
        for key_id, key in users:
            use(key_id, key)
            if key_id == other:  # the first one is still good: nobody is refused
                await caller.server.service.rotation.renewals.since(1)
            edit = PHOTO | {"model": "local", "prompt": "grayscale"}
            callback = await caller.run("/process-image-async", edit)
            assert callback["status"] == "completed"
            query = parse_qs(urlsplit(callback["result_url"]).query)
            assert query["X-Amz-Credential"][0].split("/")[0] == key_id
            async with caller.session.get(callback["result_url"]) as answer:
                assert answer.status == 200


async def test_another_proxy_is_gone_through_from_the_next_call_on(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    monkeypatch.setattr(rotation, "FILES_INTERVAL", NEVER)
    ports = {"hooks.example": receiver.port}
    async with forward_proxy(ports) as first, forward_proxy(ports) as second:

        def use(proxy: ForwardProxy) -> None:
            secret_file("egress__proxy", f"http://imgsvc:at-{proxy.port}@{proxy.authority}")

        use(first)
        async with running_service(load_settings()) as caller:
            for proxy in (first, second):
                use(proxy)
                await caller.server.service.rotation.renewals.since(0)
                edit = PHOTO | {"model": "local", "prompt": "grayscale"}
                await caller.submit(PATH, edit, callbackUrl="http://hooks.example/")
                await receiver.next()
                authorization = aiohttp.encode_basic_auth("imgsvc", f"at-{proxy.port}")
                assert [authorization.encode() in head for head in proxy.heads] == [True]
