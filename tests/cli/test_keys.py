"""`imgsvc keys`, and commands that need one."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.commands import Command
from imgsvc.config import Settings
from standins.service import running_service
from web.auth.callers import ask


def made(command: Command, *arguments: str) -> str:
    """Return the key that a command prints."""
    done = command("keys", *arguments)
    assert done.code == 0, done.err
    [key] = done.out.split()
    assert key not in done.err
    return key


def listed(command: Command) -> list[str]:
    return command("keys", "list").out.splitlines()[1:]


def test_keys_are_made_before_a_server_has_run_and_shown_without_their_secrets(
    command: Command, tmp_path: Path
) -> None:
    assert command("keys", "list").out == "There are no keys.\n"
    key = made(command, "create", "--client", "shop", "--roles", "read,submit", "--expires", "90d")
    assert oct((tmp_path / "imgsvc-data" / "jobs.db").stat().st_mode)[-3:] == "600"
    [line] = listed(command)
    _, key_id, secret = key.split("_", 2)
    assert line.split()[:4] == [key_id, "shop", "read,submit", "valid"]
    assert secret not in line


def test_a_key_that_nobody_will_be_asked_for_is_made_with_a_note(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ("keys", "create", "--client", "shop", "--roles", "read")
    assert "auth.mode takes none" in command(*create).err
    monkeypatch.setenv("IMGSVC_AUTH__MODE", "api_key")
    assert "auth.mode" not in command(*create).err
    assert "(default: it never ends)" in " ".join(command("keys", "create", "--help").out.split())


def test_a_key_that_is_rotated_has_a_successor_and_an_end(command: Command) -> None:
    key_id = made(command, "create", "--client", "shop", "--roles", "submit").split("_")[1]
    new = made(command, "rotate", key_id, "--overlap", "0s").split("_")[1]
    states = {line.split()[0]: line.split()[1:4] for line in listed(command)}
    assert states == {key_id: ["shop", "submit", "expired"], new: ["shop", "submit", "valid"]}

    assert command("keys", "revoke", new).code == 0
    assert command("keys", "rotate", new).code == 1
    assert {line.split()[3] for line in listed(command)} == {"expired", "revoked"}


@pytest.mark.parametrize(
    ("options", "days"),
    [((), 90), (("--expires", "30d"), 30), (("--expires", "never"), None)],
)
def test_a_key_that_ends_has_a_successor_that_ends(
    command: Command, options: tuple[str, ...], days: int | None
) -> None:
    who = ("--client", "shop", "--roles", "submit")
    key_id = made(command, "create", *who, "--expires", "90d").split("_")[1]
    done = command("keys", "rotate", key_id, *options)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    [said] = [line for line in done.err.splitlines() if line.startswith("It works until ")]
    until = said.removeprefix("It works until ").removesuffix(".")
    if days is None:
        assert until == "it is revoked"
    else:
        assert until in {f"{now + timedelta(days, seconds=s):%Y-%m-%d %H:%MZ}" for s in (-60, 0)}


def test_a_key_that_there_is_not_is_named(command: Command) -> None:
    for what in ("revoke", "rotate"):
        done = command("keys", what, "unknown\x1b")
        assert done.code == 1
        assert "There is no key unknown\ufffd" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--client", "a b", "--roles", "read"),
        ("--client", "", "--roles", "read"),
        ("--client", "shop", "--roles", "reed"),
        ("--client", "shop", "--roles", ""),
        ("--client", "shop", "--roles", "read", "--expires", "soon"),
        ("--client", "shop"),
    ],
)
def test_what_makes_no_sense_makes_no_key(command: Command, arguments: tuple[str, ...]) -> None:
    assert command("keys", "create", *arguments).code == 2
    assert command("keys", "list").out == "There are no keys.\n"


async def test_a_running_server_knows_at_once_of_new_and_ended_keys(
    command: Command,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings = make_settings(auth={"mode": "api_key"}, logs={"level": "error"})
    monkeypatch.setenv("IMGSVC_DATA_DIR", str(settings.data_dir))
    async with running_service(settings) as service:
        create = ("create", "--client", "shop", "--roles", "read")
        key = await asyncio.to_thread(made, command, *create)
        assert (await ask(service, "GET", "/jobs", {"X-API-Key": key}))[0] == 200

        asking = ("jobs", "list", "--server", service.server.url, "--json")
        done = await asyncio.to_thread(command, *asking)
        assert (done.code, "IMGSVC_API_KEY" in done.err, "--key-file" in done.err) == (
            1,
            True,
            True,
        )
        monkeypatch.setenv("IMGSVC_API_KEY", key)
        assert (await asyncio.to_thread(command, *asking)).code == 0
        monkeypatch.setenv("IMGSVC_API_KEY", "wrong")
        assert (await asyncio.to_thread(command, *asking)).code == 1
        file = tmp_path / "key"
        file.write_text(key + "\n")
        assert (await asyncio.to_thread(command, *asking, "--key-file", str(file))).code == 0

        await asyncio.to_thread(command, "keys", "revoke", key.split("_")[1])
        assert (await ask(service, "GET", "/jobs", {"X-API-Key": key}))[0] == 401


def test_a_file_that_holds_no_key_is_named(command: Command, tmp_path: Path) -> None:
    asking = ("jobs", "list", "--server", "http://127.0.0.1:9", "--key-file")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "lines").write_bytes(b"one\ntwo\n")
    for name in ("missing", "binary", "lines"):
        done = command(*asking, str(tmp_path / name))
        assert (done.code, "key" in done.err) == (2, True)
