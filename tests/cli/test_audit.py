"""`imgsvc audit`, and what commands on the record leave in the audit log."""

import asyncio
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.commands import Command
from imgsvc.config import Settings
from imgsvc.jobs.audit import Action, Actor, AuditEntry
from standins.service import running_service

ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"


async def test_commands_about_keys_are_in_it_and_a_running_server_shows_them(
    command: Command,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings = make_settings(auth={"mode": "api_key"}, logs={"level": "error"})
    monkeypatch.setenv("IMGSVC_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("IMGSVC_LOGS__AUDIT_FILE", str(tmp_path / "audit.log"))
    monkeypatch.setenv("USER", "somebody_else")  # who runs it is not what it says

    async def run(*arguments: str) -> str:
        done = await asyncio.to_thread(command, *arguments)
        assert done.code == 0, done.err
        assert "audit" not in done.err
        return done.out.strip()

    key = await run("keys", "create", "--client", "ops", "--roles", "admin")
    other = (await run("keys", "create", "--client", "shop", "--roles", "read")).split("_")[1]
    await run("keys", "rotate", other)
    await run("keys", "revoke", other)
    monkeypatch.setenv("IMGSVC_API_KEY", key)
    async with running_service(settings) as service:
        asking = ("audit", "--server", service.server.url)
        rows = [json.loads(line) for line in (await run(*asking, "--json")).splitlines()]
        shown = await run(*asking, "--actor", ME, "--target", other, "--since", "1h")
        nothing = await run(*asking, "--action", "job.cancel")
        assert await run(*asking, "--outcome", "role_missing") == nothing
        assert await run(*asking, "--until", "1h") == nothing
        assert len((await run(*asking, "--outcome", "done", "--until", "0s")).splitlines()) == 5
        refused = await asyncio.to_thread(command, *asking, "--action", "job.steal")
    assert [(row["actor"], row["action"]) for row in rows] == [
        (ME, "key.revoke"),
        (ME, "key.rotate"),
        (ME, "key.create"),
        (ME, "key.create"),
    ]
    assert all(row["proof"] == "cli" and "address" not in row for row in rows)
    assert shown.split("\n")[0].split()[3:6] == ["PROOF", "KEY", "ADDRESS"]
    assert [line.split()[3:5] for line in shown.splitlines()[1:]] == [
        ["cli", "key.revoke"],
        ["cli", "key.rotate"],
        ["cli", "key.create"],
    ]
    assert nothing == "There are no such rows."
    assert (refused.code, refused.out) == (1, "")
    stream = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    # The server of this test reads by the same process.
    told = [line["action"] for line in stream if line["action"] != "audit.read"]
    assert told == [row["action"] for row in rows[::-1]]


async def test_many_rows_come_in_pages_and_no_more_than_asked_for(
    command: Command, make_settings: Callable[..., Settings]
) -> None:
    async with running_service(make_settings(logs={"level": "error"})) as service:
        audit = service.server.service.backend.audit
        actor = Actor(name="ann\x1b[31m", proof="jwt")
        for _ in range(130):
            await audit.append(AuditEntry(actor=actor, action=Action.JOB_READ, target=None))
        asking = ("audit", "--server", service.server.url, "--limit", "120")
        done = await asyncio.to_thread(command, *asking)
    lines = [line for line in done.out.splitlines() if "job.read" in line and " [" not in line]
    assert len(lines) == 120
    assert [line.split()[0] for line in (lines[0], lines[-1])] == ["130", "11"]
    assert "\x1b" not in "".join(lines)
