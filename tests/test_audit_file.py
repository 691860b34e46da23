"""The log stream of the audit log, in a file of its own."""

import asyncio
import errno
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from imgsvc.errors import ConfigurationError
from imgsvc.jobs.audit import Action, Actor, AuditEntry, tell
from imgsvc.logs import audit_file
from standins.logs import Configure, logging_of_our_own

log = structlog.get_logger("imgsvc.test")
ENTRY = AuditEntry(actor=Actor(name="ann", proof="jwt"), action=Action.JOB_CANCEL, target="42")


@pytest.fixture
def configure() -> Iterator[Configure]:
    with logging_of_our_own() as configured:
        yield configured


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_without_a_file_its_lines_stand_among_the_others(configure: Configure) -> None:
    lines = configure()
    log.info("before")
    tell(ENTRY)
    _, line = lines.all()
    assert (line["event"], line["logger"]) == ("audit", "imgsvc.audit")
    assert (line["actor"], line["action"], line["target"]) == ("ann", "job.cancel", "42")


@pytest.mark.parametrize("settings", [{}, {"level": "error"}, {"format": "console"}])
def test_a_file_has_them_alone_as_json_whatever_the_level(
    configure: Configure, tmp_path: Path, settings: dict[str, str]
) -> None:
    file = tmp_path / "audit.log"
    lines = configure(audit_file=file, secrets=("geheimnis",), **settings)
    log.error("another")
    tell(AuditEntry(actor=ENTRY.actor, action=ENTRY.action, target="geheimnis\n{}"))
    tell(ENTRY)
    first, second = lines_of(file)
    assert (first["target"], second["target"]) == ("[redacted]\\n{}", "42")
    assert "job.cancel" not in lines.text()


def test_nobody_else_on_the_machine_may_read_a_new_file(
    configure: Configure, tmp_path: Path
) -> None:
    former = os.umask(0)
    try:
        configure(audit_file=tmp_path / "audit.log")
        tell(ENTRY)
    finally:
        os.umask(former)
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_it_goes_on_in_a_new_file_when_the_old_one_was_moved(
    configure: Configure, tmp_path: Path
) -> None:
    file = tmp_path / "audit.log"
    file.write_text('{"from": "before"}\n')
    configure(audit_file=file)
    tell(ENTRY)
    file.rename(tmp_path / "audit.log.1")
    tell(ENTRY)
    tell(ENTRY)
    file.unlink()
    tell(ENTRY)
    assert [len(lines_of(each)) for each in (tmp_path / "audit.log.1", file)] == [2, 1]


def test_a_file_that_cannot_be_written_is_said_once_and_no_line_is_lost(
    configure: Configure, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    lines = configure(audit_file=folder / "audit.log")
    for _ in range(3):
        tell(ENTRY)
    assert [line["event"] for line in lines.all()] == ["audit_file_failed", *["audit"] * 3]
    folder.mkdir()
    tell(ENTRY)
    assert [line["event"] for line in lines.all()] == ["audit_file_works_again"]
    assert len(lines_of(folder / "audit.log")) == 1
    (folder / "audit.log").rename(tmp_path / "moved")
    folder.rmdir()
    tell(ENTRY)
    failed, told = lines.all()
    assert (failed["logger"], failed["level"], failed["error"]) == (
        "imgsvc.audit_file",
        "error",
        os.strerror(errno.ENOENT),
    )
    assert failed["file"] == str(folder / "audit.log")
    assert told["target"] == "42"


async def test_it_is_opened_before_it_has_a_line_and_told_whether_it_is_another(
    configure: Configure, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    lines = configure(audit_file=folder / "audit.log")
    file = audit_file()
    assert file is not None
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"audit\.log: No such file"):
            await file.reopen()
    failed = lines.one()  # told once
    assert (failed["event"], failed["file"]) == ("audit_file_failed", str(folder / "audit.log"))
    await asyncio.to_thread(folder.mkdir)
    assert [await file.reopen() for _ in range(2)] == [True, False]
    tell(ENTRY)
    assert not await file.reopen()
    assert lines.one()["event"] == "audit_file_works_again"
    await asyncio.to_thread((folder / "audit.log").rename, tmp_path / "moved")
    assert await file.reopen()
    tell(ENTRY)
    assert [len(lines_of(each)) for each in (tmp_path / "moved", folder / "audit.log")] == [1, 1]


def test_a_full_disk_loses_no_line(configure: Configure) -> None:
    lines = configure(audit_file=Path("/dev/full"))
    tell(ENTRY)
    tell(ENTRY)
    failed, *told = lines.all()
    assert failed["error"] == os.strerror(errno.ENOSPC)
    assert [line["target"] for line in told] == ["42", "42"]


def test_a_line_that_a_full_disk_cuts_off_is_told_elsewhere_and_spoils_no_other(
    configure: Configure, tmp_path: Path
) -> None:
    file = tmp_path / "audit.log"
    lines = configure(audit_file=file)
    tell(ENTRY)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 50, former[1]))
    try:
        tell(ENTRY)
        tell(ENTRY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    tell(ENTRY)
    tell(ENTRY)
    failed, *told, works = lines.all()
    assert failed["error"] == os.strerror(errno.EFBIG)
    assert works["event"] == "audit_file_works_again"
    assert [line["target"] for line in told] == ["42", "42"]
    first, cut_off, *later = file.read_text().splitlines()
    assert len(cut_off) == 50
    assert [json.loads(line)["target"] for line in (first, *later)] == ["42"] * 3
