"""What a log line holds, whoever writes it and wherever it goes."""

import asyncio
import io
import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from imgsvc.config import Settings
from imgsvc.errors import ObjectNotFound
from imgsvc.redaction import REDACTED
from standins.logs import Configure, logging_of_our_own
from standins.pictures import as_base64, picture
from standins.service import running_service

log = structlog.get_logger("imgsvc.test")


@pytest.fixture(scope="module")
def configure() -> Iterator[Configure]:
    with logging_of_our_own() as configured:
        yield configured


def test_a_line_is_one_json_object_that_says_what_when_who_and_how_bad(
    configure: Configure,
) -> None:
    lines = configure()
    log.info("job_finished", seconds=1.5, kind="batch")
    line = lines.one()
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() is not None
    assert line == {
        "event": "job_finished",
        "level": "info",
        "logger": "imgsvc.test",
        "seconds": 1.5,
        "kind": "batch",
    }


def test_what_is_bound_to_a_task_is_on_all_of_its_lines(configure: Configure) -> None:
    lines = configure()
    with bound_contextvars(job_id="42"):
        log.info("bound")
        logging.getLogger("aiohttp.server").warning("bound too")
    log.info("free")
    assert [line.get("job_id") for line in lines.all()] == ["42", "42", None]


@pytest.mark.parametrize("name", ["aiohttp.server", "asyncio", "botocore.hooks", "py.warnings"])
def test_libraries_speak_in_the_same_form_from_warning_on(configure: Configure, name: str) -> None:
    lines = configure(level="debug")
    library = logging.getLogger(name)
    library.debug("payload")
    library.info("payload")
    library.warning("lost %s of %d", "one", 2)
    line = lines.one()
    assert line["event"] == "lost one of 2"
    assert line["logger"] == name
    assert line["level"] == "warning"
    assert {"timestamp"} <= set(line)


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_left_out(
    configure: Configure, level: str, seen: list[str]
) -> None:
    lines = configure(level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("event")
    assert [line["level"] for line in lines.all()] == seen


# -- errors -----------------------------------------------------------------------------


def fail(local: str) -> None:
    raise ValueError(local)


def test_an_error_is_its_type_and_where_it_came_from_and_nothing_else(
    configure: Configure,
) -> None:
    lines = configure()
    try:
        try:
            fail("canary")
        except ValueError as exc:
            raise KeyError("canary") from exc
    except KeyError as exc:
        log.exception("job_crashed")
        log.error("job_crashed", exc_info=exc, stack_info=True)  # noqa: TRY400 - the other way
        logging.getLogger("aiohttp.server").exception("Error handling request", stack_info=True)
    text = lines.stream.getvalue()
    assert "canary" not in text
    assert "Traceback" not in text
    assert str(Path(__file__).parent) not in text
    for line in lines.all():
        outer, inner = line["exception"]
        assert outer["type"] == "builtins.KeyError"
        assert inner["type"] == "builtins.ValueError"
        assert [place.rsplit(":", 1)[0] for place in inner["where"]] == [
            f"{__name__}:test_an_error_is_its_type_and_where_it_came_from_and_nothing_else",
            f"{__name__}:fail",
        ]


def test_our_own_errors_keep_their_message(configure: Configure) -> None:
    lines = configure()
    try:
        raise ObjectNotFound("The object a.png does not exist.")  # noqa: TRY301 - to log it
    except ObjectNotFound:
        log.exception("item_crashed")
    [entry] = lines.one()["exception"]
    assert entry["message"] == "The object a.png does not exist."
    log.info("value", error=ObjectNotFound("Gone."))
    assert lines.one()["error"] == "ObjectNotFound: Gone."


def test_a_group_of_errors_shows_its_members(configure: Configure) -> None:
    lines = configure()
    log.error("crash", exc_info=ExceptionGroup("canary", [ValueError("canary"), OSError("canary")]))
    text = lines.stream.getvalue()
    [entry] = lines.one()["exception"]
    assert [part[0]["type"] for part in entry["group"]] == [
        "builtins.ValueError",
        "builtins.OSError",
    ]
    assert "canary" not in text


def test_an_error_as_a_value_is_its_type(configure: Configure) -> None:
    lines = configure()
    log.info("value", error=ValueError("canary"))
    assert lines.one()["error"] == "builtins.ValueError"


async def test_what_asyncio_tells_of_a_lost_task_has_no_dump_of_it(configure: Configure) -> None:
    lines = configure()

    async def crash() -> None:
        fail("canary")

    task = asyncio.create_task(crash())
    await asyncio.wait({task})
    del task
    line = lines.one()
    assert line["event"] == "Task exception was never retrieved"
    assert line["exception"][0]["type"] == "builtins.ValueError"
    assert "canary" not in str(line)


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("logger", [log, logging.getLogger("aiohttp.server")])
def test_an_error_comes_out_in_either_form_and_nothing_else_does(
    configure: Configure,
    capsys: pytest.CaptureFixture[str],
    form: str,
    logger: Any,
) -> None:
    lines = configure(format=form, secrets=("s3cr3t-key",))
    try:
        try:
            fail("canary")
        except ValueError as exc:
            raise ObjectNotFound("The object s3cr3t-key\nforged=1 does not exist.") from exc
    except ObjectNotFound:
        logger.exception("item_crashed")
    text = lines.text()
    for part in (
        "item_crashed",
        "imgsvc.errors.storage.ObjectNotFound",
        "builtins.ValueError",
        ":fail:",
    ):
        assert part in text
    assert f"The object {REDACTED}" in text
    assert "\nforged" not in text
    for part in ("canary", "s3cr3t", "Traceback", str(Path(__file__).parent)):
        assert part not in text
    assert capsys.readouterr().err == ""


def test_on_a_terminal_an_error_is_told_in_lines_that_are_indented(configure: Configure) -> None:
    lines = configure(format="console")
    try:
        try:
            fail("canary")
        except ValueError as exc:
            raise ExceptionGroup("canary", [ObjectNotFound("Gone."), OSError("canary")]) from exc
    except ExceptionGroup:
        log.exception("job_crashed")
    first, *rest = lines.text().splitlines()
    assert "job_crashed" in first
    here = f"{__name__}:{test_on_a_terminal_an_error_is_told_in_lines_that_are_indented.__name__}"
    assert [line.rstrip("0123456789") for line in rest] == [
        "  builtins.ExceptionGroup",
        f"      {here}:",
        "    | imgsvc.errors.storage.ObjectNotFound: Gone.",
        "    | builtins.OSError",
        "  caused by builtins.ValueError",
        f"      {here}:",
        f"      {__name__}:fail:",
    ]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_line_that_cannot_be_written_is_lost_without_a_word_of_what_it_held(
    configure: Configure, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    lines = configure(format=form)
    lines.stream.close()
    log.error("job_crashed", value="canary")
    logging.getLogger("library").error("canary %s", "canary")
    errors = capsys.readouterr().err
    assert errors == "imgsvc: a log line was lost (builtins.ValueError)\n" * 2


# -- the whole service ------------------------------------------------------------------


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_prompts_and_pictures_are_never_logged(
    configure: Configure, make_settings: Callable[..., Settings], level: str
) -> None:
    settings = make_settings()
    image = as_base64(picture())
    async with running_service(settings) as service:
        lines = configure(level=level)
        body = {"prompt": "canary", "image_base64": image, "filename": "a.png"}
        await service.run("/process-image-async-b64", body)
        await service.post("/process-image-async-b64", body | {"image_base64": "canary!"})
        await service.get("/health/live?canary")
    assert {"job_accepted", "job_started", "request_refused"} <= {
        json.loads(line)["event"] for line in lines.stream.getvalue().splitlines()
    }
    text = lines.text()
    assert "canary" not in text
    assert image[:100] not in text


# -- real processes ---------------------------------------------------------------------

PROGRAM = """
import logging, structlog, warnings
from imgsvc.logs import LogsConfig, configure_logging
configure_logging(LogsConfig())
structlog.get_logger("imgsvc.test").info("job_finished", seconds=1)
warnings.warn("old\\nsecond line", UserWarning)
"""


def run(**options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.STDOUT, **options)


def test_lines_in_a_pipe_are_json_and_warnings_of_python_are_among_them() -> None:
    output, _ = run(stdout=subprocess.PIPE).communicate()
    ours, warning = map(json.loads, output.splitlines())
    assert ours["event"] == "job_finished"
    assert warning["logger"] == "py.warnings"
    assert warning["event"] == "UserWarning: old"


def test_lines_on_a_terminal_are_for_people() -> None:
    ours, theirs = pty.openpty()
    with run(stdout=theirs, stdin=theirs) as process, open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123 - a descriptor has no path
        os.close(theirs)
        output = b""
        while chunk := _read(terminal):
            output += chunk
    assert process.returncode == 0
    assert b"job_finished" in output
    assert b"\x1b[" in output
    assert b'{"' not in output


def _read(terminal: io.RawIOBase) -> bytes:
    try:
        return terminal.read(4096) or b""
    except OSError:
        return b""  # EIO is how a terminal says that its other end is closed
