"""A service with two image APIs, as callers see it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.config import Settings
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import as_base64, picture
from standins.service import Caller, running_service, service_settings

TO_BASE64 = "/process-image-async-b64"
BATCH = "/batch-process-images"

PHOTO = {"prompt": "make it pop", "image_base64": as_base64(picture())}


@pytest_asyncio.fixture
async def first() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as first:
        yield first


@pytest_asyncio.fixture
async def spare() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as spare:
        yield spare


@pytest_asyncio.fixture
async def caller(
    tmp_path: Path, first: OpenAIStandin, spare: OpenAIStandin
) -> AsyncIterator[Caller]:
    second = {
        "name": "spare",
        "api_key": spare.api_key,
        "base_url": spare.base_url,
        "models": ["gpt-image-2.6-flare", {"name": "gpt-image-2.6-sunburst", "masks": False}],
    }
    openai = {"api_key": first.api_key, "base_url": first.base_url}
    rooms: dict[str, Any] = {"openai": openai, "providers": [second]}
    settings = Settings.model_validate(service_settings(tmp_path, **rooms))
    async with running_service(settings) as caller:
        yield caller


async def test_the_second_image_api_steps_in_for_the_first(
    caller: Caller, first: OpenAIStandin, spare: OpenAIStandin
) -> None:
    first.fail_always("insufficient_quota")
    callback = await caller.run(TO_BASE64, PHOTO)

    shown = {"provider": "spare", "model": "gpt-image-2.6-flare", "fallback": True}
    assert shown | {"fallback_reason": "provider_out_of_credit"} == {
        name: callback[name] for name in (*shown, "fallback_reason")
    }
    assert [call.fields["model"] for call in spare.calls] == ["gpt-image-2.6-flare"]
    _, job = await caller.get(f"/jobs/{callback['job_id']}")
    assert shown.items() <= job.items()
    assert "operations" not in job


async def test_a_batch_counts_what_another_image_api_edited_apart(
    caller: Caller, first: OpenAIStandin
) -> None:
    first.fail_always("insufficient_quota")
    folder = caller.files / "input" / "input"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(picture())
    callback = await caller.run(BATCH, {"prompt": "Make it night"})

    assert (callback["provider"], callback["status"]) == ("openai", "completed_with_errors")
    assert (callback["processed"], callback["fallback_local"]) == (0, 0)
    assert (callback["fallback_other"], callback["total_files_processed"]) == (1, 1)
    assert (callback["fallback"], callback["fallback_reason"]) == (True, "provider_out_of_credit")


@pytest.mark.parametrize(
    "model", ["spare", "spare/gpt-image-2.6-flare", "spare/gpt-image-2.6-sunburst"]
)
async def test_a_request_picks_the_image_api_by_model_or_name(
    caller: Caller, spare: OpenAIStandin, first: OpenAIStandin, model: str
) -> None:
    callback = await caller.run(TO_BASE64, PHOTO | {"model": model})
    assert (callback["provider"], callback["fallback"]) == ("spare", False)
    expected = "gpt-image-2.6-sunburst" if "sunburst" in model else "gpt-image-2.6-flare"
    assert spare.calls[-1].fields["model"] == callback["model"] == expected
    assert not first.calls


async def test_the_local_engine_can_be_asked_for_by_name(
    caller: Caller, first: OpenAIStandin
) -> None:
    callback = await caller.run(TO_BASE64, PHOTO | {"prompt": "Blur it", "model": "local"})
    assert (callback["provider"], callback["fallback"]) == ("local", False)
    assert (callback["operations"], callback["ignored"]) == (["blur 25%"], [])
    assert "model" not in callback
    assert not first.calls


@pytest.mark.parametrize("path", [TO_BASE64, BATCH])
async def test_what_no_model_can_do_is_refused_before_there_is_a_job(
    caller: Caller, path: str
) -> None:
    body = {"prompt": "Blur it"} if path == BATCH else PHOTO
    status, problem = await caller.post(path, body | {"model": "dall-e-3"})
    assert (status, problem["code"]) == (422, "model_not_offered")
    assert "spare/gpt-image-2.6-flare" in problem["errors"][0]["message"]
    status, problem = await caller.post(path, body | {"model": "local", "size": "1024x1024"})
    assert (status, problem["code"]) == (422, "not_offered_by_model")
    assert [error["field"] for error in problem["errors"]] == ["size"]
    assert (await caller.get("/jobs"))[1] == {"jobs": []}
