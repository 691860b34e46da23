"""SIGHUP never ends a server: it has everything read again, and one line says what came of it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trustme

from imgsvc.config import load_settings
from imgsvc.reload import ReadAgain, read_when_asked
from imgsvc.secrets import files
from imgsvc.serve import listening
from standins.configuration import Environment, secret_file, toml
from standins.processes import children_of
from standins.server_process import server_process
from web.auth.issuing import AUDIENCE, ISSUER, Issuer


async def test_a_server_that_is_asked_before_it_has_started_starts_and_reads_again(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "logs"
    variables = {"IMGSVC_LOGS__AUDIT_FILE": str(folder / "audit.log")}
    async with server_process(tmp_path / "data", started=False, environment=variables) as server:
        failed = await server.event("audit_file_failed")
        assert failed["file"] == str(folder / "audit.log")
        server.process.send_signal(signal.SIGHUP)
        await server.event("service_started")
        line = await server.event("read_again")
        assert (line["read"], line["changed"]) == (["audit_file"], [])
        assert line["failed"] == [f"audit_file: {folder / 'audit.log'}: No such file or directory"]
        await asyncio.to_thread(folder.mkdir)
        # A service manager sends it to all processes of a service.
        for child in children_of(server.process.pid):
            os.kill(child, signal.SIGHUP)
        server.process.send_signal(signal.SIGHUP)
        line = await server.event("read_again")
        assert (line["changed"], line["failed"]) == (["audit_file"], [])
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
    assert "image_process_replaced" not in "".join(server.output)


class Asked:
    """Has everything read again."""

    def __init__(self, asked: asyncio.Event) -> None:
        self._asked = asked

    async def __call__(self) -> structlog.typing.EventDict:
        """Return the line that says what came of it."""
        with structlog.testing.capture_logs() as lines:
            self._asked.set()
            while not (found := [line for line in lines if line["event"] == "read_again"]):  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0.005)
        [line] = found
        return line


@asynccontextmanager
async def reading(sources: dict[str, ReadAgain]) -> AsyncIterator[Asked]:
    """Yield what asks for the sources to be read, and waits for the line about it."""
    asked = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(read_when_asked(asked, sources))
        yield Asked(asked)
        task.cancel()


async def test_with_nothing_to_read_that_is_what_it_says() -> None:
    async with reading({}) as ask:
        line = await ask()
        assert (line["read"], line["effect"]) == ([], "there is nothing to read again")


async def test_a_bug_in_one_source_ends_nothing_and_keeps_no_other_from_being_read() -> None:
    async def crash() -> bool:
        raise RuntimeError("canary")

    async def change() -> bool:
        return True

    async with reading({"first": crash, "second": change}) as ask:
        for _ in range(2):
            line = await ask()
            assert (line["changed"], line["log_level"]) == (["second"], "warning")
            assert [each.partition(":")[0] for each in line["failed"]] == ["first"]
            assert "canary" not in str(line)


async def test_all_that_can_be_is_read_again_and_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "SETTLED", 0)
    environment = Environment(monkeypatch, tmp_path)
    environment(IMGSVC_SECRETS_DIR="secrets", IMGSVC_DATA_DIR="data", IMGSVC_SERVER__PORT="0")
    authority = trustme.CA()

    def write(number: int) -> None:
        made = authority.issue_cert("127.0.0.1")
        made.private_key_pem.write_to_path("tls.key")
        made.cert_chain_pems[0].write_to_path("tls.crt")
        toml("\n".join(f"word{n}" for n in range(number)), "deny.txt")
        toml(json.dumps({"keys": [Issuer(kid=str(number)).public()]}), "jwks.json")
        secret_file("openai__api_key", f"sk-{number}")
        toml(
            f"""
            images.processes = {number}
            [server]
            tls_cert = "tls.crt"
            tls_key = "tls.key"
            [prompts]
            deny_file = "deny.txt"
            [auth]
            mode = "jwt"
            jwt_issuer = "{ISSUER}"
            jwt_audience = "{AUDIENCE}"
            jwt_jwks_file = "jwks.json"
            """
        )

    write(1)
    settings, asked = load_settings(), asyncio.Event()
    async with listening(settings, hung_up=asked):
        ask = Asked(asked)
        everything = ["configuration", "secrets", "token_keys", "deny_list", "certificate"]
        assert (await ask())["read"] == everything
        write(2)
        line = await ask()
        assert (line["changed"], line["failed"]) == (everything, [])
        line = await ask()
        # What is in the file is still another than what is in force.
        assert (line["changed"], line["failed"]) == (["configuration"], [])
        for name in ("imgsvc.toml", "deny.txt", "jwks.json", "tls.key"):
            toml("(", name)
        secret_file("openai__api_key", "\n")
        line = await ask()
        assert line["changed"] == []
        assert [each.partition(":")[0] for each in line["failed"]] == [
            each for each in everything if each != "secrets"
        ]
        assert settings.openai.api_key is not None
        assert settings.openai.api_key.get_secret_value() == "sk-2"
