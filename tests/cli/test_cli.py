"""The commands as a person types them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Command
from imgsvc import __version__
from imgsvc.web.openapi import document

COMMANDS = ("serve", "openapi", "check", "demo", "jobs", "callbacks")


def imgsvc(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imgsvc", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_told(tmp_path: Path) -> None:
    assert imgsvc("--version", cwd=tmp_path).stdout == f"imgsvc {__version__}\n"


def test_help_names_every_command(tmp_path: Path) -> None:
    text = imgsvc("--help", cwd=tmp_path).stdout
    assert all(command in text for command in COMMANDS)


def test_the_demo_refuses_a_configuration_that_it_would_not_use(command: Command) -> None:
    done = command("--config", "my.toml", "demo")
    assert done.code == 2
    assert "demo takes no --config" in done.err


def test_an_unknown_command_is_refused(tmp_path: Path) -> None:
    assert imgsvc("serv", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(("flags", "full"), [((), False), (("--full",), True)])
def test_openapi_prints_the_document(command: Command, flags: tuple[str, ...], full: bool) -> None:
    url = "https://images.example.com"
    done = command("openapi", "--server-url", url, *flags)
    assert json.loads(done.out) == document(url, full=full)


def test_openapi_takes_the_public_url_of_the_configuration(
    command: Command, tmp_path: Path
) -> None:
    config = tmp_path / "my.toml"
    config.write_text('[server]\npublic_url = "https://images.example.com/"\n')
    for arguments in (("openapi", "--config", str(config)), ("--config", str(config), "openapi")):
        servers: Any = json.loads(command(*arguments).out)["servers"]
        assert [server["url"] for server in servers] == ["https://images.example.com"]


def test_a_wrong_server_url_is_refused_in_plain_words(command: Command) -> None:
    done = command("openapi", "--server-url", "images")
    assert done.code == 2
    assert "The configuration cannot be used" in done.err
    assert "images" in done.err


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m imgsvc openapi --full --server-url http://x | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 - bash from the PATH
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_serve_names_every_problem_of_the_configuration_and_does_not_start(tmp_path: Path) -> None:
    done = imgsvc(cwd=tmp_path, COS_ENDPOINT="https://s3.example.com", PORT="x")
    assert done.returncode == 2
    for name in ("COS_BUCKET", "COS_ACCESS_KEY_ID", "COS_SECRET_ACCESS_KEY", "PORT"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_starting_does_not_wait_for_clients_of_services_that_are_not_configured() -> None:
    clients = ("openai", "botocore", "aiobotocore", "huggingface_hub")
    program = f"import sys, imgsvc.serve; print(*sys.modules.keys() & set({clients}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"
