from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

from imgsvc import errors
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import Automatic1111Config, EditOptions, EditRequest, open_provider
from providers.desks import edit
from providers.kinds import opened
from providers.pictures import encoded
from standins.automatic1111 import CHECKPOINTS, Automatic1111Standin, automatic1111_standin

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]


@pytest_asyncio.fixture(loop_scope="session")
async def web_ui() -> AsyncIterator[Automatic1111Standin]:
    async with automatic1111_standin(auth=False) as web_ui:
        yield web_ui


def config(web_ui: Automatic1111Standin, **changes: Any) -> Automatic1111Config:
    table = {"base_url": web_ui.url, "models": list(CHECKPOINTS)} | changes
    return Automatic1111Config.model_validate(table)


DEFAULTS = {
    "prompt": "Make it night",
    "negative_prompt": "",
    "denoising_strength": 0.75,
    "steps": 20,
    "cfg_scale": 7.0,
    "sampler_name": "Euler a",
    "width": 96,
    "height": 64,
    "resize_mode": 0,
    "n_iter": 1,
    "batch_size": 1,
    "override_settings": {"sd_model_checkpoint": "v1-5-inpainting"},
    "override_settings_restore_afterwards": True,
}


async def test_a_plain_request_sends_the_defaults_of_the_web_ui(
    web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_provider(config(web_ui), pool) as provider:
        await edit(provider, make_request())
    assert web_ui.calls[0].fields == DEFAULTS
    assert "Authorization" not in web_ui.calls[0].headers


async def test_what_is_configured_is_sent(
    web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest
) -> None:
    own = {
        "negative_prompt": "blurry",
        "denoising_strength": 0.4,
        "steps": 30,
        "cfg_scale": 5.5,
        "sampler_name": "DPM++ 2M",
    }
    options = EditOptions(model="sd_xl_base_1.0")
    async with open_provider(config(web_ui, **own), pool) as provider:
        await edit(provider, make_request(options=options))
    chosen = {"override_settings": {"sd_model_checkpoint": "sd_xl_base_1.0"}}
    assert web_ui.calls[0].fields == DEFAULTS | own | chosen


async def test_with_a_mask_the_whole_picture_is_looked_at_and_its_content_kept(
    web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest, tmp_path: Path
) -> None:
    mask = tmp_path / "mask"
    mask.write_bytes(encoded("PNG", "RGBA"))
    async with open_provider(config(web_ui), pool) as provider:
        await edit(provider, make_request(mask=mask))
    assert web_ui.calls[0].fields == DEFAULTS | {
        "inpainting_fill": 1,
        "inpaint_full_res": False,
        "inpainting_mask_invert": 0,
        "mask_blur": 4,
    }


async def test_a_picture_larger_than_the_result_is_sent_in_the_results_size(
    web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_provider(config(web_ui, max_pixels=65_536), pool) as provider:
        await edit(provider, make_request(encoded("JPEG", size=(1200, 800))))
    sent = web_ui.calls[0]
    assert opened(sent.picture).size == (312, 208)
    assert (sent.fields["width"], sent.fields["height"]) == (312, 208)


async def test_a_size_of_another_ratio_crops_and_does_not_stretch(
    web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest
) -> None:
    request = make_request(encoded("JPEG", size=(1200, 800)), options=EditOptions(size="512x512"))
    async with open_provider(config(web_ui, max_pixels=65_536), pool) as provider:
        await edit(provider, request)
    sent = web_ui.calls[0]
    assert opened(sent.picture).size == (624, 416)
    assert (sent.fields["width"], sent.fields["height"]) == (512, 512)
    assert sent.fields["resize_mode"] == 1


@pytest.mark.parametrize("name", ["v1-5-inpainting", "v1-5-inpainting.safetensors", "0000c0ffee"])
async def test_a_checkpoint_is_known_by_each_of_its_names(
    name: str, web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_provider(config(web_ui, models=[name]), pool) as provider:
        await provider.probe()
        await edit(provider, make_request())
    assert len(web_ui.calls) == 1


async def test_an_unknown_checkpoint_is_refused_before_another_one_edits(
    web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_provider(config(web_ui, models=["v1-6"]), pool) as provider:
        with pytest.raises(errors.ProviderModelNotFound, match="model v1-6"):
            await provider.probe()
        with pytest.raises(errors.ProviderModelNotFound, match="model v1-6"):
            await edit(provider, make_request())
    assert web_ui.calls == []


@pytest.mark.parametrize("answer", ["{", '{"error": "x"}', "[1]", "null", "<html>"])
async def test_a_list_of_checkpoints_that_is_none_is_a_bad_answer(
    answer: str, pool: ImagePool, make_request: MakeRequest
) -> None:
    async def checkpoints(_: web.Request) -> web.Response:
        return web.Response(text=answer)

    app = web.Application()
    app.router.add_get("/sdapi/v1/sd-models", checkpoints)
    async with TestServer(app) as server:
        table = {"base_url": str(server.make_url("")), "models": ["a"]}
        elsewhere = Automatic1111Config.model_validate(table)
        async with open_provider(elsewhere, pool) as provider:
            with pytest.raises(errors.ProviderBadAnswer):
                await edit(provider, make_request())


async def test_a_web_ui_without_its_api_is_told_how_to_switch_it_on(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    async with (
        automatic1111_standin(auth=False, api=False) as web_ui,
        open_provider(config(web_ui), pool) as provider,
    ):
        with pytest.raises(errors.ProviderModelNotFound, match="--api"):
            await provider.probe()
        with pytest.raises(errors.ProviderModelNotFound, match="--api"):
            await edit(provider, make_request())


async def test_a_sampler_that_is_not_there_is_a_refused_parameter(
    web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_provider(config(web_ui, sampler_name="Euler b"), pool) as provider:
        with pytest.raises(errors.ProviderRefusedParameter):
            await edit(provider, make_request())


async def test_an_error_names_the_web_uis_exception_and_not_its_text(
    web_ui: Automatic1111Standin, pool: ImagePool, make_request: MakeRequest
) -> None:
    web_ui.fail_next("out_of_memory")
    async with open_provider(config(web_ui), pool) as provider:
        with pytest.raises(errors.ProviderServerError) as caught:
            await edit(provider, make_request())
    assert caught.value.message.endswith(
        "(model v1-5-inpainting, status 500, error OutOfMemoryError)"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"username": "me"}, "go together"),
        ({"password": "secret"}, "go together"),
        ({"username": "a:b", "password": "secret"}, "pattern"),
        ({"models": []}, "at least 1"),
        ({"base_url": "127.0.0.1:7860"}, "http or https"),
        ({"base_url": "http://me:secret@127.0.0.1"}, "http or https"),
        ({"steps": 0}, "greater than"),
        ({"denoising_strength": 1.5}, "less than"),
    ],
)
async def test_a_configuration_that_cannot_work_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    table = {"base_url": "http://127.0.0.1:7860", "models": ["a"]} | changes
    with pytest.raises(ValidationError, match=message):
        Automatic1111Config.model_validate(table)


async def test_its_models_take_masks_and_any_size_and_cost_nothing() -> None:
    table = {"base_url": "http://127.0.0.1:7860/", "models": ["a", {"name": "b", "masks": False}]}
    found = Automatic1111Config.model_validate(table)
    assert found.base_url == "http://127.0.0.1:7860"
    assert list(found.offered) == ["a", "b"]
    model = found.offered["a"]
    assert (model.qualities, model.backgrounds, model.usd_per_image) == ((), (), 0)
    assert (model.masks, found.offered["b"].masks, model.any_size) == (True, False, True)
