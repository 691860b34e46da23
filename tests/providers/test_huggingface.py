import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, get_args

import pytest
import pytest_asyncio
from huggingface_hub import constants, get_session
from huggingface_hub.inference._providers import PROVIDERS
from huggingface_hub.inference._providers._common import _fetch_inference_provider_mapping
from huggingface_hub.inference._providers.hf_inference import _check_supported_task
from pydantic import ValidationError

from imgsvc import errors
from imgsvc.imaging.formats import ImageFormat, sniff
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import (
    EditOptions,
    EditRequest,
    EditRouter,
    HuggingFaceConfig,
    LocalConfig,
    LocalProvider,
    RoutingConfig,
    open_provider,
)
from imgsvc.providers.huggingface import config as config_module
from imgsvc.providers.huggingface import hub
from imgsvc.providers.huggingface.config import InferenceProvider
from providers.desks import Clock, Notes, edit
from providers.kinds import opened
from providers.pictures import encoded
from standins.accounts import OpenAccount
from standins.huggingface import MODEL, TOKEN, HuggingFaceStandin, huggingface_standin

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]


@pytest_asyncio.fixture(loop_scope="session")
async def there() -> AsyncIterator[HuggingFaceStandin]:
    """Run the stand-in in the place of the Hub and its router."""
    async with huggingface_standin() as standin:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hub, "HUB", standin.url)
            patch.setattr(hub, "ROUTER", standin.url)
            at_hugging_face: Any = PROVIDERS["hf-inference"]["image-to-image"]
            patch.setattr(at_hugging_face, "base_url", f"{standin.url}/hf-inference")
            _fetch_inference_provider_mapping.cache_clear()
            _check_supported_task.cache_clear()
            yield standin


def config(**changes: Any) -> HuggingFaceConfig:
    return HuggingFaceConfig.model_validate({"api_key": TOKEN, "models": [MODEL]} | changes)


@pytest.mark.parametrize("through", ["auto", "fal-ai", "replicate", "hf-inference"])
async def test_an_inference_provider_edits_and_the_picture_is_fetched(
    through: str, there: HuggingFaceStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with open_provider(config(inference_provider=through), pool) as provider:
        await provider.probe()
        result = await edit(provider, make_request())

    assert sniff(await result.to_bytes()) is result.format is ImageFormat.PNG
    assert opened(await result.to_bytes()).size == (96, 64)
    assert [call.prompt for call in there.calls] == ["Make it night"]
    assert opened(there.calls[0].picture).format == "JPEG"


async def test_the_token_goes_to_the_hub_and_not_to_where_results_are_fetched(
    there: HuggingFaceStandin,
    pool: ImagePool,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_leaked")
    monkeypatch.setattr(hub, "ROUTER", there.url.replace("127.0.0.1", "localhost"))
    there.links = [f"{there.url.replace('127.0.0.1', 'localhost')}/files/0"]
    async with open_provider(config(inference_provider="fal-ai"), pool) as provider:
        await edit(provider, make_request())

    (looked_up,), (fetched,) = there.hub_headers, there.file_headers
    assert looked_up["Authorization"] == f"Bearer {TOKEN}"
    assert "Authorization" not in fetched
    assert "agent/" not in looked_up["User-Agent"]


async def test_a_model_that_no_one_runs_is_not_found(
    there: HuggingFaceStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    for changes in ({"models": ["nobody/nothing"]}, {"inference_provider": "together"}):
        async with open_provider(config(**changes), pool) as provider:
            with pytest.raises(errors.ProviderModelNotFound, match="model "):
                await edit(provider, make_request())
            with pytest.raises(errors.ProviderModelNotFound):
                await provider.probe()
    assert there.calls == []


async def test_a_wrong_token_is_found_by_the_probe(
    there: HuggingFaceStandin, pool: ImagePool
) -> None:
    assert there.url
    async with open_provider(config(api_key="hf_wrong"), pool) as provider:
        with pytest.raises(errors.ProviderKeyRejected):
            await provider.probe()


async def test_a_queue_that_never_ends_ends_at_the_deadline(
    there: HuggingFaceStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    there.status = "IN_PROGRESS"
    async with open_provider(config(inference_provider="fal-ai", timeout=1.2), pool) as provider:
        with pytest.raises(errors.ProviderTimeout):
            await edit(provider, make_request())
    assert there.polls >= 1


@pytest.mark.parametrize(
    "failure", ["rate_limited", "loading", "wrong_token", "no_credits", "no_model"]
)
async def test_an_error_after_the_request_was_taken_is_not_repeated_and_may_have_cost(
    failure: str,
    there: HuggingFaceStandin,
    pool: ImagePool,
    make_request: MakeRequest,
) -> None:
    there.fail_polls = failure
    priced = {"name": MODEL, "usd_per_image": 0.04}
    clock, account = Clock(), OpenAccount()
    async with open_provider(
        config(inference_provider="fal-ai", models=[priced]), pool
    ) as provider:
        router = EditRouter(
            [provider],
            LocalProvider(pool, LocalConfig()),
            RoutingConfig(),
            clock=clock,
            sleep=clock.sleep,
        )
        result = await router.edit(
            make_request(), fallback_allowed=True, until=600, observer=Notes(), account=account
        )

    assert len(there.calls) == 1
    assert (result.provider, result.fallback_reason) == ("local", "provider_bad_answer")
    assert [call.cost for call in account.settled] == [None]
    assert [breaker.state for breaker in router.breakers.statuses()] == ["closed"]


async def test_an_error_after_the_request_was_taken_says_so(
    there: HuggingFaceStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    there.fail_polls = "rate_limited"
    async with open_provider(config(inference_provider="fal-ai"), pool) as provider:
        with pytest.raises(errors.ProviderBadAnswer) as caught:
            await edit(provider, make_request())
    assert caught.value.message == (
        "The image API took the request, and then gave an error in place of the image; whether"
        f" it billed the edit is unknown. (model {MODEL}, status 429)"
    )


async def test_a_prediction_that_is_not_ready_is_a_timeout(
    there: HuggingFaceStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    there.status = "starting"
    async with open_provider(config(inference_provider="replicate"), pool) as provider:
        with pytest.raises(errors.ProviderTimeout):
            await edit(provider, make_request())


@pytest.mark.parametrize(
    "link", ["http://127.0.0.2/secret", "ftp://127.0.0.1/", "file:///etc/passwd", "http://[", "x"]
)
async def test_a_link_to_anything_but_https_is_not_followed(
    link: str, there: HuggingFaceStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    there.links = [link]
    async with open_provider(config(inference_provider="replicate"), pool) as provider:
        with pytest.raises(errors.ProviderBadAnswer):
            await edit(provider, make_request())


async def test_a_result_that_is_too_large_is_not_fetched_to_its_end(
    there: HuggingFaceStandin,
    pool: ImagePool,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "MAX_PICTURE_BYTES", 100_000)
    there.answer = encoded("PNG") + bytes(200_000)
    async with open_provider(config(inference_provider="fal-ai"), pool) as provider:
        with pytest.raises(errors.ProviderBadAnswer, match="too large"):
            await edit(provider, make_request())


async def test_a_thread_ends_with_its_next_step_when_its_call_is_cancelled(
    there: HuggingFaceStandin,
) -> None:
    loop = asyncio.get_running_loop()
    begun, ended = asyncio.Event(), asyncio.Event()

    def poll_for_ever() -> None:
        try:
            while True:
                get_session().get(f"{there.url}/api/whoami-v2")
                loop.call_soon_threadsafe(begun.set)
        finally:
            loop.call_soon_threadsafe(ended.set)

    async with hub.open_hub(lambda: TOKEN) as threads:
        task = asyncio.create_task(
            threads.run(loop.time() + 600, poll_for_ever), name="poll-for-ever"
        )
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()


async def test_a_model_that_is_loading_tells_how_long_to_wait(
    there: HuggingFaceStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    there.fail_next("loading")
    async with open_provider(config(base_url=there.url), pool) as provider:
        with pytest.raises(errors.ProviderServerError) as caught:
            await edit(provider, make_request())
    assert caught.value.retry_after == 20.5


async def test_large_pictures_are_scaled_down_and_a_size_is_passed_on(
    there: HuggingFaceStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    request = make_request(encoded("JPEG", size=(1200, 800)), options=EditOptions(size="512x256"))
    async with open_provider(config(base_url=there.url, max_pixels=65_536), pool) as provider:
        result = await edit(provider, request)
    assert opened(there.calls[0].picture).size == (312, 208)
    assert there.calls[0].fields == {"target_size": {"width": 512, "height": 256}}
    assert opened(await result.to_bytes()).size == (512, 256)


async def test_the_environment_has_no_influence_on_the_library(
    there: HuggingFaceStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # as from HF_ENDPOINT
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with hub.open_hub(lambda: TOKEN) as threads:
        url = f"{there.url}/api/whoami-v2"
        answer = await threads.run(
            asyncio.get_running_loop().time() + 60, lambda: get_session().get(url)
        )
        assert answer.status_code == 200
        assert there.url == constants.ENDPOINT
        assert constants.HF_HUB_DISABLE_IMPLICIT_TOKEN
        assert constants.HF_HUB_DISABLE_TELEMETRY


async def test_all_inference_providers_that_edit_pictures_can_be_configured() -> None:
    able = {name for name, tasks in PROVIDERS.items() if "image-to-image" in tasks}
    assert set(get_args(InferenceProvider)) == able | {"auto"}


async def test_without_the_extra_the_configuration_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config_module, "INSTALLED", False)
    with pytest.raises(ValidationError, match=r"pip install 'imgsvc\[huggingface\]'"):
        config(kind="huggingface")


async def test_its_models_take_no_mask_and_no_size_unless_they_are_said_to() -> None:
    found = config(models=["a/b", {"name": "c/d", "any_size": True}]).offered
    assert (found["a/b"].masks, found["a/b"].qualities, found["a/b"].backgrounds) == (False, (), ())
    assert (found["a/b"].any_size, found["c/d"].any_size) == (False, True)
    assert found["a/b"].usd_per_image is None


@pytest.mark.parametrize(
    "changes",
    [{"models": []}, {"api_key": "two words"}, {"base_url": "x"}, {"inference_provider": "groq"}],
)
async def test_a_configuration_that_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**changes)
