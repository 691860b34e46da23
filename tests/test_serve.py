"""The program as an operator runs it: start, stop, and what it leaves behind."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from imgsvc.jobs import hold
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import as_base64, picture
from standins.processes import children_of
from standins.receiver import Receiver
from standins.server_process import ServerProcess, server_process

PHOTO = {"prompt": "a secret wish", "image_base64": as_base64(picture())}
PATH = "/process-image-async-b64"


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


async def post(server: ServerProcess, receiver: Receiver, **fields: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            server.url + PATH, json=PHOTO | fields, headers={"callbackUrl": receiver.url}
        ) as answer,
    ):
        return answer.status


@asynccontextmanager
async def busy_server(
    folder: Path, standin: OpenAIStandin, receiver: Receiver, *, drain_timeout: float = 600
) -> AsyncIterator[ServerProcess]:
    """Start a server with a job that never ends."""
    standin.fail_next("hang")
    variables = standin.environment | {"IMGSVC_SERVER__DRAIN_TIMEOUT": str(drain_timeout)}
    async with server_process(folder / "data", environment=variables) as server:
        await post(server, receiver)
        await standin.arrived.wait()
        yield server


async def test_the_first_lines_say_what_the_service_runs_on_and_what_is_odd_about_it(
    tmp_path: Path,
) -> None:
    variables = {
        "IMGSVC_WORKERS__COUNT": "3",
        "IMGSVC_SERVER__HOST": "0.0.0.0",  # noqa: S104 - that is what is warned of
        "IMGSVC_AUTH__MODE": "none",
    }
    async with server_process(tmp_path / "data", environment=variables) as server:
        odd = await server.event("public_url_not_set")
    started = next(line for line in server.output if "service_started" in line)
    for part in ('"storage":"filesystem"', '"provider":"local"', '"workers":3', "0.0.0.0"):  # noqa: S104 - as above
        assert part in started
    assert '"audit_retention":31536000' in started
    assert "name http://0.0.0.0:" in odd["effect"]
    assert "open_to_the_network" in "".join(server.output)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104 - not listened on
        *(pytest.param(host, marks=pytest.mark.slow) for host in ("::", "192.0.2.1", "a.example")),
    ],
)
async def test_off_loopback_it_does_not_start_unless_it_is_said_how_callers_prove_themselves(
    tmp_path: Path, host: str
) -> None:
    variables = {"IMGSVC_SERVER__HOST": host}
    async with server_process(tmp_path / "data", started=False, environment=variables) as server:
        assert await server.process.wait() == 2
    said = "".join(server.output)
    assert "auth.mode is not set" in said
    assert 'auth.mode = "none"' in said
    assert not (tmp_path / "data").exists()


async def test_off_loopback_it_starts_with_keys_and_warns_of_clear_text_alone(
    tmp_path: Path,
) -> None:
    variables = {"IMGSVC_SERVER__HOST": "0.0.0.0", "IMGSVC_AUTH__MODE": "api_key"}  # noqa: S104 - with keys
    async with server_process(tmp_path / "data", environment=variables) as server:
        clear_text = await server.event("keys_in_clear_text")
        assert "server.tls_cert" in clear_text["mend"]
        await server.event("public_url_not_set")
        async with aiohttp.ClientSession() as session, session.get(server.url + "/jobs") as answer:
            assert answer.status == 401
    assert "open_to_the_network" not in "".join(server.output)


@pytest.mark.slow
async def test_models_that_end_or_are_kept_from_being_called_are_warned_of_at_the_start(
    tmp_path: Path,
) -> None:
    variables = {
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "OPENAI_IMAGE_MODEL": "its-model",
        "IMGSVC_OPENAI__MODELS": '[{"name": "its-model", "ends": "2026-01-01"}]',
        "IMGSVC_BUDGETS__DAY_USD": "10",
    }
    async with server_process(tmp_path / "data", environment=variables) as server:
        ends, has_no_price = await server.event("model_ends"), await server.event("price_unknown")
    assert (ends["provider"], ends["model"], ends["date"]) == ("openai", "its-model", "2026-01-01")
    assert (has_no_price["provider"], has_no_price["model"]) == ("openai", "its-model")


async def test_sigterm_lets_the_running_job_end_and_deliver_and_then_exits_with_0(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    standin.latency = 0.5
    async with server_process(tmp_path / "data", environment=standin.environment) as server:
        assert await post(server, receiver) == 202
        await standin.arrived.wait()
        server.process.send_signal(signal.SIGTERM)
        await server.event("draining")
        assert (await receiver.next()).json["status"] == "completed"
        assert await server.process.wait() == 0
    assert "public_url_not_set" not in "".join(server.output)  # on loopback, nobody else calls


@pytest.mark.slow
async def test_while_it_drains_probes_see_it_and_new_jobs_are_refused(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    async with busy_server(tmp_path, standin, receiver) as server:
        server.process.send_signal(signal.SIGTERM)
        await server.event("draining")
        assert await post(server, receiver) == 503
        async with aiohttp.ClientSession() as session:
            async with session.get(server.url + "/health/ready") as answer:
                assert answer.status == 503
            async with session.get(server.url + "/health/live") as answer:
                assert answer.status == 200
        server.process.send_signal(signal.SIGTERM)  # the second one: no more patience
        assert (await server.event("drain_incomplete"))["running"] == 1
        assert await server.process.wait() == 0


@pytest.mark.slow
async def test_an_upload_that_is_under_way_is_refused_and_does_not_hold_the_exit_up(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    async with busy_server(tmp_path, standin, receiver) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\ncallbackUrl: {receiver.url}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode()
        )
        await server.requests_under_way(tmp_path / "data")
        server.process.send_signal(signal.SIGTERM)
        assert b" 503 " in await reader.readline()
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), 5)


@pytest.mark.slow
async def test_what_does_not_end_within_the_drain_timeout_is_given_up_and_named(
    tmp_path: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    async with busy_server(tmp_path, standin, receiver, drain_timeout=0.2) as server:
        server.process.send_signal(signal.SIGINT)
        assert (await server.event("drain_incomplete"))["running"] == 1
        assert await server.process.wait() == 0


@pytest.mark.slow
async def test_no_process_is_left_behind_when_the_server_is_killed(tmp_path: Path) -> None:
    async with server_process(tmp_path / "data") as server:
        children = children_of(server.process.pid)
        assert children
        ends = [os.pidfd_open(pid) for pid in children]
        server.process.kill()
        for end in ends:
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(end, ended.set)
            await ended.wait()
            asyncio.get_running_loop().remove_reader(end)
            os.close(end)


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with server_process(
            tmp_path / "data", started=False, environment={"IMGSVC_SERVER__PORT": port}
        ) as server:
            assert await server.process.wait() == 2
    assert f"cannot listen on 127.0.0.1:{port}" in "".join(server.output)


async def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    with hold(tmp_path / "data"):
        async with server_process(tmp_path / "data", started=False) as second:
            assert await second.process.wait() == 2
    assert f"in use by process {os.getpid()}" in "".join(second.output)


async def test_a_deny_list_with_a_wrong_pattern_does_not_start_it(tmp_path: Path) -> None:
    (tmp_path / "deny.txt").write_text("gun\n(knife\n")
    variables = {"IMGSVC_PROMPTS__DENY_FILE": "deny.txt"}
    async with server_process(tmp_path / "data", started=False, environment=variables) as server:
        assert await server.process.wait() == 2
    assert "line 2 of deny.txt: missing ): (knife" in "".join(server.output)
    assert "Traceback" not in "".join(server.output)


@pytest.mark.slow
async def test_a_start_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "files").write_text("not a folder")
    async with server_process(tmp_path / "data", started=False) as server:
        assert await server.process.wait() == 2
    assert children_of(server.process.pid) == set()
    assert "Traceback" not in "".join(server.output)
