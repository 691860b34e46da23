"""Which prompts are refused before there is a job."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from imgsvc.config import Settings
from imgsvc.web.keys import CONTEXT
from standins.openai import OpenAIStandin, openai_standin
from standins.service import Caller, running_service
from web.refusals import PATHS, PHOTO, assert_problem
from web.submitting import submit

SECRET = "a zeppelin over the lake"
REMOTE = {"prompt": SECRET, "image_url": "https://example.com/a.png"}
EVERY_TOOL = [
    (PATHS[0], PHOTO | {"prompt": SECRET}),
    (PATHS[1], PHOTO | {"prompt": SECRET}),
    (PATHS[1], REMOTE),
    (PATHS[2], {"prompt": SECRET}),
]
RESPOND_ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


def deny(file: Path, patterns: str) -> None:
    file.write_text(patterns)


@pytest.fixture
def deny_file(tmp_path: Path) -> Path:
    file = tmp_path / "deny.txt"
    file.write_text("# air ships\nzeppelins?\n")
    return file


@pytest.fixture
def moderated(
    make_settings: Callable[..., Settings], standin: OpenAIStandin
) -> Callable[..., Settings]:
    """Return a function that makes settings with moderation switched on."""

    def make(**prompts: Any) -> Settings:
        return make_settings(
            openai={"api_key": standin.api_key, "base_url": standin.base_url},
            prompts={"moderation": True} | prompts,
        )

    return make


@asynccontextmanager
async def keeping_nothing(settings: Settings) -> AsyncIterator[Caller]:
    """Run a service that has neither jobs nor files of them in the end."""
    async with running_service(settings) as caller:
        yield caller
        assert (await caller.get("/jobs"))[1]["jobs"] == []
        spool = settings.data_dir / "spool"
        assert [path for path in spool.rglob("*") if path.is_file()] == []


def told(logs: list[Any], event: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in line.items() if name not in {"event", "request_id"}}
        for line in logs
        if line["event"] == event
    ]


# -- the deny-list ----------------------------------------------------------------------


async def test_a_prompt_on_the_deny_list_is_refused_by_every_tool_and_nothing_is_kept(
    make_settings: Callable[..., Settings], deny_file: Path
) -> None:
    settings = make_settings(prompts={"deny_file": deny_file})
    with capture_logs() as logs:
        async with keeping_nothing(settings) as caller:
            for path, body in EVERY_TOOL:
                status, problem = await caller.post(path, body)
                assert status == 422
                assert_problem(status, problem, "prompt_rejected")
                assert "categories" not in problem
                assert "zeppelin" not in str(problem).lower()
    assert told(logs, "prompt_rejected") == [
        {"log_level": "info", "source": "deny_list", "line": 2}
    ] * len(EVERY_TOOL)
    assert "zeppelin" not in str(logs).lower()


async def test_a_changed_file_counts_at_once_and_one_that_is_wrong_changes_nothing(
    make_settings: Callable[..., Settings], deny_file: Path
) -> None:
    async with running_service(make_settings(prompts={"deny_file": deny_file})) as caller:

        async def status(prompt: str) -> int:
            return (await submit(caller, PHOTO | {"prompt": prompt}, headers=RESPOND_ASYNC)).status

        assert [await status("a zeppelin"), await status("a balloon")] == [422, 202]
        deny(deny_file, "balloon")
        assert [await status("a zeppelin"), await status("a balloon")] == [202, 422]
        with capture_logs() as logs:
            deny(deny_file, "zeppelin\n(")
            assert [await status("a zeppelin"), await status("a balloon")] == [202, 422]
        assert told(logs, "deny_list_wrong") == [
            {"log_level": "error", "problems": (f"line 2 of {deny_file}: missing ): (",)}
        ]
        deny(deny_file, "zeppelin")
        assert [await status("a zeppelin"), await status("a balloon")] == [422, 202]


async def test_a_repetition_of_an_accepted_request_is_checked_like_any_other(
    make_settings: Callable[..., Settings], deny_file: Path
) -> None:
    headers = RESPOND_ASYNC | {"Idempotency-Key": "one"}
    async with running_service(make_settings(prompts={"deny_file": deny_file})) as caller:
        first = await submit(caller, PHOTO, headers=headers)
        deny(deny_file, ".")
        assert (await submit(caller, PHOTO, headers=headers)).status == 422
        deny(deny_file, "")
        again = await submit(caller, PHOTO, headers=headers)
        assert (again.status, again.body) == (first.status, first.body)


async def test_the_event_loop_goes_on_while_a_slow_pattern_looks_at_a_long_prompt(
    make_settings: Callable[..., Settings], deny_file: Path
) -> None:
    deny(deny_file, "(.{0,30}a){20}z")
    prompt = "".join(random.Random(1).choices("ab", k=8000))  # noqa: S311 - no secret
    settings = make_settings(prompts={"deny_file": deny_file})
    async with running_service(settings) as caller:
        prompts = caller.server.service.app[CONTEXT].intake.prompts
        check = asyncio.create_task(prompts.check(prompt), name="check")
        turns = 0
        while not check.done():
            await asyncio.sleep(0)
            turns += 1
        await check
    assert turns > 100


# -- moderation -------------------------------------------------------------------------


async def test_a_prompt_that_moderation_objects_to_is_refused_with_its_categories(
    moderated: Callable[..., Settings], standin: OpenAIStandin
) -> None:
    standin.objections = ("violence/graphic", "harassment")
    with capture_logs() as logs:
        async with keeping_nothing(moderated()) as caller:
            for path, body in EVERY_TOOL:
                status, problem = await caller.post(path, body)
                assert status == 422
                assert_problem(status, problem, "prompt_rejected")
                assert problem["categories"] == ["harassment", "violence/graphic"]
                assert "harassment, violence/graphic" in problem["detail"]
                assert SECRET not in str(problem)
    assert standin.questions == [{"model": "omni-moderation-latest", "input": SECRET}] * 4
    assert told(logs, "prompt_rejected") == [
        {
            "log_level": "info",
            "source": "moderation",
            "categories": ("harassment", "violence/graphic"),
        }
    ] * len(EVERY_TOOL)
    assert SECRET not in str(logs)


async def test_an_objection_without_a_known_category_is_one_all_the_same(
    moderated: Callable[..., Settings], standin: OpenAIStandin
) -> None:
    standin.objections = ("something new",)
    async with keeping_nothing(moderated()) as caller:
        status, problem = await caller.post(PATHS[0], PHOTO)
    assert_problem(status, problem, "prompt_rejected")
    assert "categories" not in problem


async def test_a_prompt_without_objections_is_edited(
    moderated: Callable[..., Settings], standin: OpenAIStandin
) -> None:
    async with running_service(moderated(moderation_model="omni-moderation-2024-09-26")) as caller:
        callback = await caller.run(PATHS[0], PHOTO)
    assert callback["status"] == "completed"
    assert standin.questions == [{"model": "omni-moderation-2024-09-26", "input": "x"}]


async def test_moderation_is_asked_about_nothing_that_is_refused_anyway(
    moderated: Callable[..., Settings], standin: OpenAIStandin, deny_file: Path
) -> None:
    refused = [
        PHOTO | {"prompt": SECRET},
        PHOTO | {"quality": "best"},
        PHOTO | {"image_base64": "?"},
        {"prompt": "x", "image_url": "http://10.0.0.1/"},
    ]
    async with keeping_nothing(moderated(deny_file=deny_file)) as caller:
        for body in refused:
            assert (await caller.post(PATHS[0], body))[0] in {400, 422}
        assert (await caller.post(PATHS[2], {"prompt": "x", "concurrency": 99}))[0] == 422
    assert standin.questions == []


FAILURES = {
    "server_error": "ProviderServerError",
    "rate_limit_exceeded": "ProviderRateLimited",
    "invalid_api_key": "ProviderKeyRejected",
    "model_not_found": "ProviderModelNotFound",
    "gateway_html": "ProviderServerError",
    "disconnect": "ProviderConnectionLost",
    "redirect": "ProviderBadAnswer",
    "web_page": "ProviderBadAnswer",
    "hang": "ProviderTimeout",
}


async def test_while_moderation_cannot_be_asked_prompts_are_taken_with_a_warning(
    moderated: Callable[..., Settings], standin: OpenAIStandin
) -> None:
    async with running_service(moderated(moderation_timeout=0.2)) as caller:
        for name, error in FAILURES.items():
            standin.fail_moderation(name)
            with capture_logs() as logs:
                answer = await submit(caller, PHOTO, headers=RESPOND_ASYNC)
            assert answer.status == 202
            [line] = told(logs, "moderation_failed")
            assert (line["log_level"], line["error"], line["effect"]) == ("warning", error, "allow")
            assert standin.api_key[-4:] not in str(line)
    assert len(standin.questions) == len(FAILURES)  # each of them once


async def test_while_moderation_cannot_be_asked_prompts_are_refused_if_so_configured(
    moderated: Callable[..., Settings], standin: OpenAIStandin
) -> None:
    settings = moderated(moderation_failure="refuse", moderation_timeout=0.2)
    async with keeping_nothing(settings) as caller:
        for name in FAILURES:
            standin.fail_moderation(name)
            for path, body in (EVERY_TOOL[0], EVERY_TOOL[3]):
                answer = await submit(caller, body, path, headers=RESPOND_ASYNC)
                assert answer.status == 503
                assert_problem(503, answer.body, "moderation_unavailable")
                assert answer.headers["Retry-After"] == "30"


async def test_a_server_that_is_not_there_is_no_moderation(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(
        openai={"api_key": "sk-any", "base_url": "http://127.0.0.1:1/v1"},
        prompts={"moderation": True, "moderation_failure": "refuse"},
    )
    async with keeping_nothing(settings) as caller:
        status, problem = await caller.post(PATHS[0], PHOTO)
    assert_problem(status, problem, "moderation_unavailable")


async def test_who_waits_for_moderation_while_the_service_stops_is_sent_away(
    moderated: Callable[..., Settings], standin: OpenAIStandin
) -> None:
    standin.fail_moderation("hang")
    async with running_service(moderated(moderation_timeout=600)) as caller:
        waiting = asyncio.create_task(caller.post(PATHS[0], PHOTO), name="waiting")
        await standin.asked.wait()
        caller.server.service.readiness.drain()
        status, problem = await waiting
    assert_problem(status, problem, "shutting_down")
