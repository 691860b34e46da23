"""Callers who come for the result, or wait for it, in place of being called."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.config import Settings
from imgsvc.web.answers import AcceptedResponse
from imgsvc.web.prefer import MAX_WAIT, Preferences, parse_prefer
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import picture
from standins.receiver import reply
from standins.service import Caller, running_service
from web.refusals import PATHS, PHOTO, assert_problem
from web.submitting import accepted, story, submit

on_the_wire = pytest.mark.asyncio(loop_scope="package")

# -- the header -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Preferences()),
        ([""], Preferences()),
        (["respond-async"], Preferences(respond_async=True)),
        (["RESPOND-Async"], Preferences(respond_async=True)),
        (['respond-async=""'], Preferences(respond_async=True)),
        (["respond-async=yes"], Preferences()),
        (["wait=10"], Preferences(wait=10)),
        (["wait = 10"], Preferences(wait=10)),
        (['wait="10"'], Preferences(wait=10)),
        (["wait=0"], Preferences(wait=0)),
        (["wait=61"], Preferences(wait=MAX_WAIT)),
        (["wait=" + "9" * 5000], Preferences(wait=MAX_WAIT)),
        (["wait"], Preferences()),
        (["wait=-1"], Preferences()),
        (["wait=1.5"], Preferences()),
        (["wait=\N{ARABIC-INDIC DIGIT ONE}"], Preferences()),
        (["wait=5, wait=9"], Preferences(wait=5)),
        (["wait=5", "wait=9"], Preferences(wait=5)),
        (["respond-async, wait=10"], Preferences(respond_async=True, wait=10)),
        (["respond-async", "wait=10"], Preferences(respond_async=True, wait=10)),
        (["respond-async;foo=bar, wait=10; baz"], Preferences(respond_async=True, wait=10)),
        (["handling=lenient, , ,wait=7,"], Preferences(wait=7)),
        (['x="a, respond-async", wait=3'], Preferences(wait=3)),
        (['x="\\", respond-async'], Preferences()),
        (["=, (, wait=4"], Preferences(wait=4)),
        (["wait=4 5, respond-async"], Preferences(respond_async=True)),
    ],
)
def test_the_header_is_read_as_rfc_7240_has_it(values: list[str], expected: Preferences) -> None:
    assert parse_prefer(values) == expected


TOKENS = st.text("abcXYZ019-_!~", min_size=1).filter(
    lambda name: name.lower() not in {"wait", "respond-async"}
)
WORDS = TOKENS | st.text('abc ,;=\\"').map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
OTHERS = st.tuples(TOKENS, st.sampled_from(["", "=", " = "]), WORDS).map(
    lambda parts: "".join(parts) if parts[1] else parts[0]
)
SPACE = st.text(" \t", max_size=2)


@given(before=st.lists(OTHERS), after=st.lists(OTHERS), space=SPACE, wait=st.integers(0, 10**30))
def test_what_is_known_is_found_among_all_that_is_not(
    before: list[str], after: list[str], space: str, wait: int
) -> None:
    header = f"{space},".join([*before, f"Wait{space}={space}{wait}", "Respond-Async", *after])
    assert parse_prefer([header]) == Preferences(respond_async=True, wait=min(wait, MAX_WAIT))


@given(st.lists(st.text() | st.text('wait=1,;" \\\trespond-async')))
def test_no_header_breaks_the_parser(values: list[str]) -> None:
    found = parse_prefer(values)
    assert found.wait is None or 0 <= found.wait <= MAX_WAIT


@pytest.mark.parametrize("part", ['"', '\\"', "wait=", '="', " ;", " \t", 'a="\\'])
def test_a_long_header_is_read_in_one_go(part: str) -> None:
    # A parser that tries all ways to read it would not end within the test's time limit.
    assert parse_prefer([part * 200_000]) == Preferences()


# -- on the wire ------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="package")
async def sleeper() -> AsyncIterator[OpenAIStandin]:
    """Run an image API that never answers."""
    async with openai_standin() as running:
        running.fail_always("hang")
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def endless(
    make_settings: Callable[..., Settings], sleeper: OpenAIStandin
) -> AsyncIterator[Caller]:
    """Run a service whose jobs never end."""
    settings = make_settings(openai={"api_key": sleeper.api_key, "base_url": sleeper.base_url})
    async with running_service(settings) as running:
        yield running


@on_the_wire
@pytest.mark.parametrize("path", PATHS)
async def test_who_comes_for_the_result_need_not_be_called(remote: Caller, path: str) -> None:
    body = {"prompt": "x"} if path == PATHS[2] else PHOTO
    answer = await submit(remote, body, path, {"Prefer": "respond-async"})
    assert answer.status == 202
    assert answer.body == {"accepted": True, "job_id": answer.body["job_id"]}
    assert answer.headers["Location"] == f"/jobs/{answer.body['job_id']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    events = await story(remote, answer.body["job_id"])
    assert events[-1].type == "finished"  # and no callback


@on_the_wire
async def test_a_preference_of_another_kind_does_not_replace_the_callback(remote: Caller) -> None:
    answer = await submit(remote, PHOTO, headers={"Prefer": "wait=soon, return=minimal"})
    assert_problem(answer.status, answer.body, "missing_callback_url")


@on_the_wire
async def test_a_callback_url_that_cannot_work_is_refused_although_none_is_needed(
    remote: Caller,
) -> None:
    headers = {"Prefer": "respond-async", "callbackUrl": "ftp://example.com/"}
    answer = await submit(remote, PHOTO, headers=headers)
    assert_problem(answer.status, answer.body, "invalid_url")


@on_the_wire
@pytest.mark.parametrize("path", PATHS)
async def test_who_waits_gets_the_body_of_the_callback(remote: Caller, path: str) -> None:
    body = {"prompt": "x"} if path == PATHS[2] else PHOTO
    answer = await submit(remote, body, path, {"Prefer": "wait=60"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.body["status"] == "completed"


@on_the_wire
async def test_who_waits_is_called_too_with_the_same_body(remote: Caller) -> None:
    headers = {"Prefer": "wait=60", "callbackUrl": remote.receiver.url}
    answer = await submit(remote, PHOTO, headers=headers)
    assert answer.status == 200
    while (callback := (await remote.receiver.next()).json)["job_id"] != answer.body["job_id"]:
        pass  # a job of an earlier test
    assert callback == answer.body


@on_the_wire
async def test_a_job_that_failed_is_an_end_too(remote: Caller, standin: OpenAIStandin) -> None:
    standin.fail_next("moderation_blocked")
    answer = await submit(remote, PHOTO, headers={"Prefer": "wait=60"})
    assert answer.status == 200
    assert answer.body["status"] == "failed"
    assert answer.body["error"].startswith("ProviderRefusedContent: ")


@on_the_wire
@pytest.mark.parametrize("seconds", [0, 1])
async def test_whose_time_is_up_gets_the_id_of_the_job(endless: Caller, seconds: int) -> None:
    answer = await submit(endless, PHOTO, headers={"Prefer": f"respond-async, wait={seconds}"})
    assert answer.status == 202
    assert answer.headers["Location"] == f"/jobs/{answer.body['job_id']}"
    assert answer.headers["Preference-Applied"] == f"respond-async, wait={seconds}"


@on_the_wire
async def test_waiting_ends_when_the_server_drains(endless: Caller, sleeper: OpenAIStandin) -> None:
    waiting = asyncio.create_task(submit(endless, PHOTO, headers={"Prefer": "wait=60"}))
    await sleeper.arrived.wait()
    endless.server.service.readiness.drain()
    answer = await waiting
    assert answer.status == 202
    assert answer.body["accepted"] is True


@on_the_wire
async def test_waiting_ends_when_the_caller_has_gone(
    endless: Caller, sleeper: OpenAIStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    class Noted(AcceptedResponse):
        def __init__(self, document: dict[str, Any], *, headers: Mapping[str, str]) -> None:
            super().__init__(document, headers=headers)
            ended.set()

    monkeypatch.setattr("imgsvc.web.submit.AcceptedResponse", Noted)
    monkeypatch.setattr("imgsvc.web.submit.CALLER_CHECK", 0.05)
    waiting = asyncio.create_task(submit(endless, PHOTO, headers={"Prefer": "wait=60"}))
    await sleeper.arrived.wait()
    waiting.cancel()
    await ended.wait()


# -- priority ---------------------------------------------------------------------------


@on_the_wire
async def test_the_most_urgent_job_is_done_first(make_settings: Callable[..., Settings]) -> None:
    all_there = asyncio.Event()

    async def image(request: web.Request) -> web.StreamResponse:
        await all_there.wait()
        return await reply(200, {"Content-Type": "image/png"}, picture())(request)

    async with running_service(make_settings(workers={"count": 1})) as caller:
        caller.receiver.answer_with(image)
        link = {"prompt": "x", "image_url": caller.receiver.url}
        ids = {await accepted(caller, link): "first"}
        await caller.receiver.next()  # the only worker is busy
        others: dict[str, dict[str, int]] = {"last": {"priority": 0}, "usual": {}}
        for name, fields in (others | {"urgent": {"priority": 9}}).items():
            ids[await accepted(caller, PHOTO | fields)] = name
        all_there.set()
        finished = {
            name: event.data["at"]
            for job_id, name in ids.items()
            for event in await story(caller, job_id)
            if event.type == "finished"
        }
    assert sorted(finished, key=finished.__getitem__) == ["first", "urgent", "usual", "last"]


@on_the_wire
@pytest.mark.parametrize("path", PATHS)
async def test_the_record_has_the_priority_that_was_asked_for(remote: Caller, path: str) -> None:
    body = {"prompt": "x"} if path == PATHS[2] else PHOTO
    backend = remote.server.service.backend
    urgent = await backend.get(await accepted(remote, body | {"priority": 9}, path))
    usual = await backend.get(await accepted(remote, body, path))
    assert (urgent.priority, usual.priority) == (9, 5)


@on_the_wire
@pytest.mark.parametrize(
    "condition",
    [
        {"Range": "bytes=0-9"},
        {"Range": "bytes=99999999-"},
        {"If-None-Match": "*"},
        {"If-Modified-Since": "Wed, 25 Nov 2099 00:00:00 GMT"},
        {"If-Unmodified-Since": "Wed, 25 Nov 1999 00:00:00 GMT"},
    ],
)
async def test_ranges_and_conditions_do_not_cut_the_answer(
    remote: Caller, condition: dict[str, str]
) -> None:
    status, body = await remote.post(PATHS[0], PHOTO, Prefer="wait=30", **condition)
    assert (status, body["status"]) == (200, "completed")
