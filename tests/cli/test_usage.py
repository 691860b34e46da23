"""`imgsvc usage` against the real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

from imgsvc.cli import main, options
from imgsvc.config import Settings
from imgsvc.jobs.ledger import Grouping
from standins.openai import openai_standin
from standins.pictures import as_base64, picture
from standins.service import Caller, running_service

TOTAL = ["1", "1", "17", "306", "1056", "0.034213", "0", "0.000000"]


@pytest.fixture
async def caller(make_settings: Callable[..., Settings]) -> AsyncIterator[Caller]:
    """Run a service that has done one edit."""
    async with openai_standin() as api:
        settings = make_settings(
            openai={"api_key": api.api_key, "base_url": api.base_url}, logs={"level": "error"}
        )
        async with running_service(settings) as caller:
            body = {"prompt": "Make it night", "image_base64": as_base64(picture())}
            await caller.run("/process-image-async-b64", body)
            yield caller


async def run(
    capsys: pytest.CaptureFixture[str], caller: Caller, *words: str
) -> tuple[int | str | None, str, str]:
    """Run the command; return its exit code and what it prints."""

    def in_a_thread() -> int | str | None:
        with pytest.raises(SystemExit) as ended:
            main(["usage", *words, "--server", caller.server.url])
        return ended.value.code

    capsys.readouterr()
    code = await asyncio.to_thread(in_a_thread)
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines(keepends=True) if " [" not in line]  # no logs
    return code, "".join(lines), err


@pytest.mark.parametrize(
    ("group_by", "keys"),
    [
        ("client", ["127.0.0.1"]),
        ("model", ["openai", "gpt-image-2"]),
    ],
)
async def test_what_was_spent_is_printed_as_a_table(
    capsys: pytest.CaptureFixture[str], caller: Caller, group_by: str, keys: list[str]
) -> None:
    code, out, _ = await run(capsys, caller, "--group-by", group_by)
    titles, row, total = (line.split() for line in out.splitlines())
    assert code == 0
    assert titles[-3:] == ["COST_USD", "UNKNOWN_CALLS", "HELD_USD"]
    assert row == keys + TOTAL
    assert total == ["total", *TOTAL]


async def test_days_without_calls_have_no_line(
    capsys: pytest.CaptureFixture[str], caller: Caller
) -> None:
    _, out, _ = await run(capsys, caller, "--from", "2020-01-01", "--to", "2020-01-31")
    [titles, total] = (line.split() for line in out.splitlines())
    assert titles[0] == "DAY"
    assert total[:2] == ["total", "0"]


async def test_programs_get_the_servers_own_document(
    capsys: pytest.CaptureFixture[str], caller: Caller
) -> None:
    code, out, _ = await run(capsys, caller, "--json")
    _, answer = await caller.get("/usage?group_by=day")
    assert (code, json.loads(out)) == (0, answer)


async def test_what_the_server_refuses_is_said(
    capsys: pytest.CaptureFixture[str], caller: Caller
) -> None:
    code, out, err = await run(capsys, caller, "--from", "today")
    assert (code, out) == (1, "")
    assert "from: must be a day like 2026-11-25" in err


def test_the_words_to_group_by_are_those_of_the_server() -> None:
    assert tuple(Grouping) == options.GROUPINGS
