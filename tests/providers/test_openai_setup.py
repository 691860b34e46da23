from collections.abc import Callable

import pytest
from pydantic import ValidationError

from imgsvc import errors
from imgsvc.errors import ProviderError
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import EditRequest, OpenAIConfig
from imgsvc.providers.openai.provider import OpenAIProvider, open_openai
from standins.openai import OpenAIStandin

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]


async def test_the_probe_asks_for_the_model_only(
    provider: OpenAIProvider, standin: OpenAIStandin
) -> None:
    await provider.probe()
    assert standin.paths == ["/v1/models/gpt-image-2"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "gpt-image-1"}, errors.ProviderModelNotFound),
        ({"api_key": "sk-wrong"}, errors.ProviderKeyRejected),
    ],
)
async def test_the_probe_finds_a_wrong_configuration(
    changes: dict[str, str],
    expected: type[ProviderError],
    standin: OpenAIStandin,
    pool: ImagePool,
) -> None:
    values = {"api_key": standin.api_key, "base_url": standin.base_url} | changes
    async with open_openai(OpenAIConfig.model_validate(values), pool) as provider:
        with pytest.raises(expected):
            await provider.probe()


async def test_the_probe_notices_a_base_url_that_leads_elsewhere(
    provider: OpenAIProvider, standin: OpenAIStandin
) -> None:
    standin.fail_always("web_page")
    with pytest.raises(errors.ProviderBadAnswer, match="base URL"):
        await provider.probe()


async def test_no_provider_opens_without_a_key(pool: ImagePool) -> None:
    with pytest.raises(errors.ProviderNotConfigured):
        async with open_openai(OpenAIConfig(), pool):
            pass


async def test_blank_settings_count_as_unset_and_line_ends_are_cut_off() -> None:
    blank = OpenAIConfig.model_validate({"api_key": "", "base_url": " "})
    assert (blank.api_key, blank.base_url) == (None, None)
    key = OpenAIConfig.model_validate({"api_key": "sk-abc\n"}).api_key
    assert key is not None
    assert key.get_secret_value() == "sk-abc"


@pytest.mark.parametrize(
    "values",
    [
        {"api_key": "sk-with space"},
        {"api_key": "sk-ümlaut"},
        {"base_url": "api.openai.com/v1"},
        {"base_url": "ftp://api.openai.com/v1"},
        {"base_url": "https://"},
        {"base_url": "https://user:password@example.com/v1"},
        {"base_url": "https://example.com/v1?key=1"},
        {"quality": "best"},
        {"output_format": "gif"},
        {"timeout": 0},
        {"model": ""},
        {"modle": "gpt-image-2"},
    ],
)
async def test_a_setting_that_cannot_work_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OpenAIConfig.model_validate(values)
