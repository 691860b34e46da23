"""The commands that talk to a running server, as a person types them."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from aiohttp import web

from cli.commands import Command, Done
from imgsvc.cli import options
from imgsvc.cli.client import Address, configured_server
from imgsvc.errors import ConfigurationError
from imgsvc.jobs.models import CallbackState, JobKind, JobState
from standins.jobs_api import job, jobs_api
from standins.receiver import Receiver

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


Run: TypeAlias = Callable[..., Awaitable[Done]]


@pytest.fixture
def run(command: Command) -> Run:
    """Return a function that runs a command in a thread, so that this one can answer it."""
    return partial(asyncio.to_thread, command)


# -- list and show -------------------------------------------------------------------------


async def test_the_newest_jobs_are_listed_page_by_page_up_to_the_limit(run: Run) -> None:
    async with jobs_api([job(number) for number in range(9, 0, -1)]) as api:
        done = await run("jobs", "list", "--server", api.url, "--limit", "5")

    title, *rows = done.out.splitlines()
    assert done.code == 0
    assert title.split() == ["JOB", "KIND", "STATE", "ACCEPTED", "ATTEMPTS", "CALLBACK", "ERROR"]
    assert [row.split()[0] for row in rows] == ["job-9", "job-8", "job-7", "job-6", "job-5"]
    assert rows[0].split()[1:] == [
        "image_to_base64",
        "completed",
        "2026-11-25T08:00:09Z",
        "1",
        "delivered",
    ]
    assert [query["limit"] for query in api.queries] == ["5", "2"]


async def test_what_is_wanted_goes_to_the_server(run: Run) -> None:
    filters = ["--state", "failed", "--kind", "batch", "--callback", "dead"]
    async with jobs_api([]) as api:
        done = await run(
            *("jobs", "list", "--server", f"{api.url}/", "--since", "2026-11-25T08:00+01:00"),
            *filters,
        )
    assert done.out == "There are no such jobs.\n"
    assert api.queries == [
        {
            "state": "failed",
            "kind": "batch",
            "callback": "dead",
            "since": "2026-11-25T07:00:00+00:00",
            "limit": "50",
        }
    ]


async def test_programs_get_one_document_a_line(run: Run) -> None:
    jobs = [job(2, state="failed") | {"error": "JobTimeout: two\nlines"}, job(1)]
    async with jobs_api(jobs) as api:
        done = await run("jobs", "list", "--server", api.url, "--json")
    assert done.documents == jobs


async def test_a_job_is_shown_with_all_that_is_known_of_it(run: Run) -> None:
    known = job(1) | {
        "callback": {
            "state": "dead",
            "attempts": [{"number": 1, "status": 500}, {"number": 2, "status": 404}],
        }
    }
    async with jobs_api([known]) as api:
        done = await run("jobs", "show", "job-1", "--server", api.url)
        as_json = await run("jobs", "show", "job-1", "--server", api.url, "--json")

    assert done.out.splitlines()[-8:] == [
        "callback:",
        "  state: dead",
        "  attempts:",
        "    number: 1",
        "    status: 500",
        "  attempts:",
        "    number: 2",
        "    status: 404",
    ]
    assert as_json.documents == [known]


async def test_a_job_without_a_callback_is_shown_without_attempts(run: Run) -> None:
    known = job(1) | {"callback": {"state": "none", "attempts": []}}
    async with jobs_api([known]) as api:
        done = await run("jobs", "show", "job-1", "--server", api.url)
    assert done.out.splitlines()[-2:] == ["callback:", "  state: none"]


async def test_what_a_server_says_cannot_steer_the_terminal(run: Run) -> None:
    hostile = job(1, state="failed") | {"error": "Kind: \x1b[2J\x07 gone"}
    async with jobs_api([hostile]) as api:
        listed = await run("jobs", "list", "--server", api.url)
        shown = await run("jobs", "show", "job-1", "--server", api.url)
    assert "gone" in listed.out
    assert "gone" in shown.out
    assert "\x1b" not in listed.out + shown.out


# -- cancel, retry, redeliver --------------------------------------------------------------


async def test_every_job_is_cancelled_that_can_be_and_the_others_are_named(run: Run) -> None:
    jobs = [job(1, state="queued"), job(2, state="completed"), job(3, state="running")]
    async with jobs_api(jobs) as api:
        done = await run("jobs", "cancel", "job-1", "job-2", "job-3", "--server", api.url)
    assert done.code == 1
    assert done.out == "job-1  cancelled\njob-3  will stop\n"
    assert done.err == "job-2  The job has ended already, as completed.\n"


async def test_a_job_is_done_again_under_a_new_id(run: Run) -> None:
    async with jobs_api([job(1, state="failed")]) as api:
        done = await run("jobs", "retry", "job-1", "--server", api.url)
        as_json = await run("jobs", "retry", "job-1", "--server", api.url, "--json")
    assert (done.code, done.out) == (0, "job-1  is done again as job-1-again\n")
    assert as_json.documents == [{"job_id": "job-1-again"}]


async def test_an_id_is_sent_as_it_was_typed(run: Run) -> None:
    async with jobs_api([job(1)]) as api:
        done = await run("jobs", "cancel", "../job 1?", "--server", api.url)
    assert done.code == 1
    assert api.posts == ["/jobs/..%2Fjob%201%3F/cancel"]


async def test_callbacks_named_are_delivered_again(run: Run) -> None:
    async with jobs_api([job(1)]) as api:
        done = await run("callbacks", "redeliver", "job-1", "job-2", "--server", api.url)
    assert done.code == 1
    assert api.posts == ["/jobs/job-1/callback/redeliver", "/jobs/job-2/callback/redeliver"]
    assert done.out == "job-1  will be delivered again\nTo be delivered again: 1. Refused: 1.\n"
    assert done.err == "job-2  There is no job with this id.\n"


async def test_all_dead_callbacks_are_delivered_again_from_every_page(run: Run) -> None:
    dead = [job(number, callback="dead") for number in range(8, 0, -1)]
    async with jobs_api([*dead, job(0)]) as api:
        done = await run("callbacks", "redeliver", "--dead", "--since", "3d", "--server", api.url)
    assert done.code == 0
    assert api.posts == [f"/jobs/{one['job_id']}/callback/redeliver" for one in dead]
    assert done.out.splitlines()[-1] == "To be delivered again: 8. Refused: 0."
    assert all(query["since"] == api.queries[0]["since"] for query in api.queries)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "required"),
        (("job-1", "--dead"), "not allowed with"),
        (("job-1", "--since", "2h"), "--since goes with --dead"),
        (("--dead", "--since", "yesterday"), "'yesterday' is neither"),
    ],
)
async def test_it_must_be_clear_which_callbacks_are_meant(
    run: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    done = await run("callbacks", "redeliver", *arguments, "--server", "http://127.0.0.1:1")
    assert done.code == 2
    assert complaint in done.err


# -- what can go wrong ---------------------------------------------------------------------


def closed_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def test_a_server_that_is_not_there_is_said_once_in_plain_words(run: Run) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    done = await run("jobs", "cancel", "job-1", "job-2", "--server", url)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert f"No server answers at {url}" in done.err


async def test_what_the_server_refuses_is_said_in_its_own_words(run: Run) -> None:
    async with jobs_api([]) as api:
        listed = await run("jobs", "list", "--state", "running", "--server", api.url)
        shown = await run("jobs", "show", "job-1", "--server", api.url)
    assert (listed.code, listed.err) == (
        1,
        "The server cannot write to its disk at the moment.\n",
    )
    assert (shown.code, shown.err) == (1, "There is no job with this id.\n")


@pytest.mark.parametrize(
    ("status", "text"), [(200, "<html></html>"), (404, "{}"), (307, "[]"), (200, '{"jobs": 1}')]
)
async def test_another_kind_of_server_is_recognised(
    run: Run, receiver: Receiver, status: int, text: str
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers={"Location": "http://127.0.0.1:1/"})

    receiver.answer_with(answer)
    done = await run("jobs", "list", "--server", receiver.url)
    assert done.code == 1
    assert f"is no imgsvc of this version (status {status})" in done.err


@pytest.mark.parametrize("url", ["images", "ftp://127.0.0.1", "http:", "http://127.0.0.1:x"])
async def test_what_is_no_url_is_refused(run: Run, url: str) -> None:
    done = await run("jobs", "list", "--server", url)
    assert done.code == 1
    assert f"{url} is not the URL of a server" in done.err


# -- which server --------------------------------------------------------------------------


async def test_the_server_is_the_one_of_the_configuration(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with jobs_api([job(1)]) as api:
        monkeypatch.setenv("IMGSVC_SERVER__PORT", api.url.rpartition(":")[2])
        done = await run("jobs", "list", "--json")
    assert done.documents == [job(1)]


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"HOST": "0.0.0.0"}, "http://127.0.0.1:8000"),  # noqa: S104 - not listened on
        ({"HOST": "::"}, "http://[::1]:8000"),
        ({"HOST": "images.internal", "PORT": "81"}, "http://images.internal:81"),
        ({"PUBLIC_URL": "https://images.example.com/"}, "http://127.0.0.1:8000"),
    ],
)
def test_a_configured_server_is_reached_where_it_listens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(f"IMGSVC_SERVER__{name}", value)
    assert configured_server(None) == Address(url=url)


def test_a_server_on_any_free_port_must_be_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGSVC_SERVER__PORT", "0")
    with pytest.raises(ConfigurationError, match="--server"):
        configured_server(None)


def test_the_commands_know_the_words_of_the_service() -> None:
    assert tuple(JobState) == options.STATES
    assert tuple(JobKind) == options.KINDS
    assert tuple(CallbackState) == options.CALLBACKS


CHOICES = [
    ("--state", options.STATES),
    ("--kind", options.KINDS),
    ("--callback", options.CALLBACKS),
]


@pytest.mark.parametrize(("option", "words"), CHOICES)
async def test_a_word_that_there_is_not_is_a_wrong_command(
    run: Run, option: str, words: tuple[str, ...]
) -> None:
    done = await run("jobs", "list", option, "nonsense")
    assert done.code == 2
    assert f"argument {option}: invalid choice: 'nonsense'" in done.err
    assert all(word in done.err for word in words)


@pytest.mark.parametrize(("option", "words"), CHOICES)
def test_the_guide_lists_the_words_to_choose_by(option: str, words: tuple[str, ...]) -> None:
    row = f"| `{option}` | {', '.join(f'`{word}`' for word in words)} |"
    assert row in OPERATIONS.splitlines()
