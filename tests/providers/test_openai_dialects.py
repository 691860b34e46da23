"""Servers that speak nearly as OpenAI does, each configured as docs/providers.md says."""

import io
import re
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from imgsvc import errors
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import EditOptions, EditRequest, OpenAIConfig
from imgsvc.providers.openai.provider import OpenAIProvider, open_openai
from providers.desks import Notes, edit
from providers.pictures import encoded
from standins.openai import OpenAIStandin, openai_standin
from standins.openai_dialects import (
    AZURE,
    AZURE_V1,
    ONE_FORMAT,
    OPENAI,
    SGLANG,
    STABLE_DIFFUSION_CPP,
    VLLM_OMNI,
    Dialect,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()


def documented(name: str, **other: Any) -> dict[str, Any]:
    """Return the entry of this name in the documents that has these other keys too."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    entries = [e for block in blocks for e in tomllib.loads(block).get("providers", ())]
    [entry] = [e for e in entries if e["name"] == name and all(e.get(k) == other[k] for k in other)]
    return {key: value for key, value in entry.items() if key not in {"base_url", "api_key"}}


AZURE_ENTRY = documented("azure", api_version="2025-04-01-preview")
ONE_FORMAT_ENTRY = {"models": documented("litellm")["models"][1:]}
SERVERS: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "azure": (AZURE, AZURE_ENTRY),
    "azure v1": (AZURE_V1, documented("azure", api_version=None)),
    "litellm": (OPENAI, documented("litellm")),
    "litellm to others": (ONE_FORMAT, ONE_FORMAT_ENTRY),
    "vllm-omni": (VLLM_OMNI, documented("vllm")),
    "sglang": (SGLANG, documented("sglang")),
    "stable-diffusion.cpp": (STABLE_DIFFUSION_CPP, documented("sdcpp")),
}
each_server = pytest.mark.parametrize("server", SERVERS)


@dataclass(frozen=True, slots=True)
class Talk:
    """A provider and the server that it asks."""

    provider: OpenAIProvider
    standin: OpenAIStandin


@asynccontextmanager
async def talk(pool: ImagePool, dialect: Dialect, config: dict[str, Any]) -> AsyncIterator[Talk]:
    async with openai_standin(dialect=dialect) as standin:
        given = {"api_key": standin.api_key, "base_url": standin.base_url} | config
        async with open_openai(OpenAIConfig.model_validate(given), pool) as provider:
            yield Talk(provider, standin)


@each_server
async def test_each_edits_as_it_is_configured_in_the_documents(
    server: str, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with talk(pool, *SERVERS[server]) as at:
        model = next(iter(at.provider.models.values()))
        result = await at.provider.edit(make_request(), model, Notes())
    assert result.image.format is ImageFormat.PNG
    assert (result.usage is None) is not at.standin.dialect.usage
    with Image.open(io.BytesIO(await result.image.to_bytes())) as picture:
        assert picture.getpixel((40, 16)) == (255, 0, 0, 255)  # mirrored: red is on the right
    assert len(at.standin.calls) == 1


@each_server
async def test_a_check_finds_each_to_be_there(server: str, pool: ImagePool) -> None:
    async with talk(pool, *SERVERS[server]) as at:
        await at.provider.probe()


@each_server
async def test_a_check_finds_a_key_that_each_does_not_know(server: str, pool: ImagePool) -> None:
    dialect, config = SERVERS[server]
    async with talk(pool, dialect, config | {"api_key": "sk-other"}) as at:
        with pytest.raises(errors.ProviderKeyRejected):
            await at.provider.probe()


async def test_a_check_finds_a_model_missing_in_a_list(pool: ImagePool) -> None:
    async with talk(pool, VLLM_OMNI, {"models": ["Qwen/Another"]}) as at:
        with pytest.raises(errors.ProviderModelNotFound):
            await at.provider.probe()


async def test_a_check_does_not_miss_a_deployment_of_another_name(pool: ImagePool) -> None:
    async with talk(pool, AZURE, AZURE_ENTRY | {"models": ["night-shift"]}) as at:
        await at.provider.probe()


async def test_a_deployment_that_is_not_there_is_a_model_that_is_not(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    dialect = replace(AZURE, edits="/openai/deployments/day-shift/images/edits")
    async with talk(pool, dialect, AZURE_ENTRY) as at:
        with pytest.raises(errors.ProviderModelNotFound):
            await edit(at.provider, make_request())


async def test_azure_gets_its_own_headers_and_nothing_from_the_environment(
    pool: ImagePool, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY", "OPENAI_ORG_ID"):
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-01-01")
    async with talk(pool, *SERVERS["azure"]) as at:
        await edit(at.provider, make_request())
    headers = at.standin.calls[0].headers
    assert headers["api-key"] == at.standin.api_key
    assert "Authorization" not in headers
    assert "from-the-environment" not in str(headers)


# -- masks --------------------------------------------------------------------------------


@pytest.mark.parametrize("edits", ["transparent", "opaque", "white"])
async def test_the_part_of_the_mask_that_may_change_is_the_part_that_changes(
    edits: str, pool: ImagePool, make_request: MakeRequest, tmp_path: Path
) -> None:
    mask = Image.new("RGBA", (48, 32), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 48, 16))  # its upper half may change
    mask.save(tmp_path / "mask", "PNG")
    dialect = replace(OPENAI, mask_edits=edits)
    models = [{"name": "gpt-image-2", "mask_edits": edits}]
    async with talk(pool, dialect, {"models": models}) as at:
        edited = await edit(at.provider, make_request(mask=tmp_path / "mask"))
    with Image.open(io.BytesIO(await edited.to_bytes())) as picture:
        corners = [picture.getpixel(place) for place in ((2, 2), (46, 2), (2, 30), (46, 30))]
    red, white, cyan, black = (255, 0, 0), (255, 255, 255), (0, 255, 255), (0, 0, 0)
    assert corners == [cyan, black, red, white]  # inverted above, as it was below


# -- what a model does not have -----------------------------------------------------------


async def sent(
    pool: ImagePool, request: EditRequest, model: dict[str, Any], **config: Any
) -> dict[str, str]:
    """Return the fields that the server got for a model like this."""
    given = config | {"models": [{"name": "gpt-image-2"} | model]}
    async with talk(pool, OPENAI, given) as at:
        await edit(at.provider, request)
    return dict(at.standin.calls[0].fields)


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ({"qualities": []}, {"quality"}),
        ({"qualities": ["low", "high"]}, {"quality"}),  # not the configured one
        ({"formats": ["png"]}, {"output_format"}),
        ({"any_format": True}, {"output_format"}),
        ({}, set()),
    ],
)
async def test_nothing_is_sent_that_the_model_does_not_have(
    model: dict[str, Any], missing: set[str], pool: ImagePool, make_request: MakeRequest
) -> None:
    fields = await sent(pool, make_request(), model)
    assert {"quality", "output_format"} - set(fields) == missing


async def test_what_a_request_asks_for_is_sent_if_the_model_has_it(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    request = make_request(options=EditOptions(quality="high"))
    assert (await sent(pool, request, {"qualities": ["low", "high"]}))["quality"] == "high"


async def test_a_model_without_the_configured_format_gives_its_first_one(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    model = {"formats": ["jpeg", "webp"]}
    assert (await sent(pool, make_request(), model))["output_format"] == "jpeg"


# -- formats ------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP])
async def test_a_picture_in_another_format_is_converted_if_the_model_may_choose_it(
    wanted: ImageFormat, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with talk(pool, ONE_FORMAT, ONE_FORMAT_ENTRY) as at:
        request = make_request(options=EditOptions(output_format=wanted))
        edited = await edit(at.provider, request)
    assert edited.format is wanted
    with Image.open(io.BytesIO(await edited.to_bytes())) as picture:
        assert picture.format == wanted.name


async def test_a_picture_in_another_format_is_refused_otherwise(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    async with talk(pool, replace(OPENAI, only_format="webp"), {}) as at:
        with pytest.raises(errors.ProviderBadAnswer, match="webp instead of png"):
            await edit(at.provider, make_request())


async def test_what_cannot_be_converted_is_a_bad_answer(
    pool: ImagePool, make_request: MakeRequest
) -> None:
    async with openai_standin(
        dialect=ONE_FORMAT, answer=encoded("PNG")[:60] + encoded("PNG")[-60:]
    ) as standin:
        config = {"api_key": standin.api_key, "base_url": standin.base_url, "output_format": "jpeg"}
        given = OpenAIConfig.model_validate(config | ONE_FORMAT_ENTRY)
        async with open_openai(given, pool) as provider:
            with pytest.raises(errors.ProviderBadAnswer, match="cannot be read"):
                await edit(provider, make_request())


# -- settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"api_version": "2025-04-01-preview"},  # of which resource?
        {"api_version": "2025-04-01", "base_url": "https://a.openai.azure.com/openai/v1"},
        {"api_version": "v1", "base_url": "https://a.openai.azure.com"},
        {"models": [{"name": "m", "formats": []}]},
        {"models": [{"name": "m", "mask_edits": "black"}]},
        {"models": [{"name": "m", "image_field": "picture"}]},
    ],
)
async def test_a_setting_that_cannot_work_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OpenAIConfig.model_validate({"api_key": "sk-1"} | values)
