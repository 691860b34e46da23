"""The commands against the real server, through the whole life of a job."""

import asyncio
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from cli.commands import Command
from imgsvc.config import Settings
from standins.openai import openai_standin
from standins.pictures import as_base64, picture
from standins.receiver import reply
from standins.service import Caller, running_service


async def run(command: Command, caller: Caller, *arguments: str) -> list[Any]:
    """Run a command that works, and return the documents that it prints."""
    done = await asyncio.to_thread(command, *arguments, "--server", caller.server.url, "--json")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]


async def test_a_job_fails_is_shown_done_again_and_told_again(
    command: Command, make_settings: Callable[..., Settings]
) -> None:
    async with openai_standin() as api:
        settings = make_settings(
            openai={"api_key": api.api_key, "base_url": api.base_url},
            callbacks={"schedule": [0]},
            logs={"level": "error"},
        )
        api.fail_next("moderation_blocked")
        async with running_service(settings) as caller:
            caller.receiver.answer_with(reply(500))
            body = {"prompt": "Make it night", "image_base64": as_base64(picture())}
            failed = await caller.run("/process-image-async-b64", body)
            assert failed["status"] == "failed"

            [listed] = await run(command, caller, "jobs", "list", "--state", "failed")
            assert listed["job_id"] == failed["job_id"]
            await caller.until(failed["job_id"], lambda job: job.is_settled)
            [shown] = await run(command, caller, "jobs", "show", failed["job_id"])
            assert shown["error"] == failed["error"]
            assert [each["status"] for each in shown["callback"]["attempts"]] == [500]

            await run(command, caller, "jobs", "retry", failed["job_id"])
            again = (await caller.receiver.next()).json
            assert (again["status"], again["job_id"] != failed["job_id"]) == ("completed", True)

            await run(command, caller, "callbacks", "redeliver", "--dead", "--since", "1h")
            assert (await caller.receiver.next()).json == failed


# A command ends with its process, and leaves a connection with the wrong certificate to that.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_server_with_tls_is_reached_where_it_listens_whatever_its_certificate_names(
    command: Command,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def issue(name: str, certificate: trustme.LeafCert) -> dict[str, str]:
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.crt")
        return {kind: str(tmp_path / f"{name}.{kind[4:]}") for kind in ("tls_crt", "tls_key")}

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    server = issue("own", authority.issue_cert("localhost", "images.example.com"))
    server["tls_cert"] = server.pop("tls_crt")
    server["public_url"] = "https://images.example.com"
    settings = make_settings(server=server, logs={"level": "error"})
    async with running_service(settings) as caller:
        port = caller.server.listening.rpartition(":")[2]
        assert caller.server.listening == f"https://127.0.0.1:{port}"
        for name, value in (server | {"port": port}).items():
            monkeypatch.setenv(f"IMGSVC_SERVER__{name.upper()}", value)
        listing = ("jobs", "list")
        done = await asyncio.to_thread(command, *listing)
        assert (done.code, done.out.endswith("There are no such jobs.\n")) == (0, True), done.err

        other = issue("other", authority.issue_cert("images.example.com"))
        monkeypatch.setenv("IMGSVC_SERVER__TLS_CERT", other["tls_crt"])
        done = await asyncio.to_thread(command, *listing)
        assert (done.code, "another certificate than" in done.err) == (1, True)

        for url, said in (
            (f"https://127.0.0.1:{port}", "SSL_CERT_FILE"),
            (f"http://127.0.0.1:{port}", "The connection to"),
            (f"https://{caller.receiver.url.split('/')[2]}", "does not speak TLS"),
        ):
            done = await asyncio.to_thread(command, *listing, "--server", url)
            assert (done.code, said in done.err) == (1, True), done.err
    gc.collect()  # here, and not in another test
