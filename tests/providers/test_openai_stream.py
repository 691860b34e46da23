"""Partial images of the image API, over a real connection."""

import asyncio
import io
from math import inf

import pytest
from PIL import Image
from structlog.testing import capture_logs

from imgsvc.errors import (
    ProviderBadAnswer,
    ProviderConnectionLost,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRefusedContent,
    ProviderServerError,
)
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import (
    EditOptions,
    LocalConfig,
    OpenAIConfig,
    PartialImage,
    RoutingConfig,
    Usage,
    open_router,
)
from imgsvc.providers.openai.provider import OpenAIProvider, open_openai
from providers.desks import MakeRequest, Notes, edit
from standins.accounts import OpenAccount
from standins.openai import OpenAIStandin

pytestmark = pytest.mark.asyncio(loop_scope="session")

TWO = EditOptions(stream_partials=2)


class Watching(Notes):
    """Notes that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = asyncio.Event()

    def partial_image(self, partial: PartialImage) -> None:
        super().partial_image(partial)
        self.shown.set()


async def test_partial_images_come_before_the_result(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    notes = Watching()
    with standin.streams.held():
        editing = asyncio.create_task(edit(provider, make_request(options=TWO), notes))
        for index in range(2):
            standin.streams.let_go()
            await notes.shown.wait()
            notes.shown.clear()
            assert [partial.index for partial in notes.partials] == list(range(index + 1))
            with Image.open(io.BytesIO(notes.partials[index].read())) as image:
                assert (image.format, image.size) == ("PNG", (48, 32))
        assert not editing.done()
        standin.streams.let_go()
        await editing


async def test_the_result_and_its_usage_are_those_of_a_call_that_does_not_stream(
    provider: OpenAIProvider, make_request: MakeRequest
) -> None:
    model = provider.models["gpt-image-2"]
    streamed = await provider.edit(make_request(options=TWO), model, Notes())
    plain = await provider.edit(make_request(), model, Notes())
    assert streamed == plain
    assert streamed.usage == Usage(text_tokens=17, image_tokens=306, output_tokens=1056)


async def test_a_streamed_call_is_logged_like_any_other(
    provider: OpenAIProvider, make_request: MakeRequest
) -> None:
    with capture_logs() as logs:
        await edit(provider, make_request(options=TWO))
    [line] = [line for line in logs if line["event"] == "provider_called"]
    assert line["upstream_id"].startswith("req_")
    assert line["usage"]["output_tokens"] == 1056


@pytest.mark.parametrize(("asked_for", "sent"), [(0, None), (1, "1"), (3, "3")])
async def test_a_stream_is_asked_for_only_with_partial_images(
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
    asked_for: int,
    sent: str | None,
) -> None:
    notes = Notes()
    await edit(provider, make_request(options=EditOptions(stream_partials=asked_for)), notes)
    fields = standin.calls[0].fields
    assert fields.get("partial_images") == sent
    assert fields.get("stream") == ("true" if sent else None)
    assert [partial.index for partial in notes.partials] == list(range(asked_for))


@pytest.mark.parametrize(("able", "told"), [(0, 0), (1, 1), (3, 2)])
async def test_a_model_that_steps_in_streams_what_it_can(
    config: OpenAIConfig, pool: ImagePool, make_request: MakeRequest, able: int, told: int
) -> None:
    table = {"name": "gpt-image-2", "partial_images": able}
    stated = OpenAIConfig.model_validate(config.model_dump() | {"models": [table]})
    notes = Notes()
    async with open_openai(stated, pool) as provider:
        await edit(provider, make_request(options=TWO), notes)
    assert len(notes.partials) == told


async def test_a_server_that_knows_no_streams_answers_as_ever(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.fail_next("ignores_stream")
    notes = Notes()
    result = await edit(provider, make_request(options=TWO), notes)
    assert notes.partials == []
    assert result == await edit(provider, make_request())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("moderation_blocked", ProviderRefusedContent),
        ("credit_balance_exhausted", ProviderBadAnswer),
        ("rate_limit_exceeded", ProviderBadAnswer),
        ("server_error", ProviderBadAnswer),
        ("organization_not_verified", ProviderBadAnswer),  # no code, and no status any more
    ],
)
async def test_an_error_in_the_middle_is_a_bad_answer_unless_moderation_refuses(
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
    name: str,
    expected: type[ProviderError],
) -> None:
    standin.fail_next(f"mid_stream_{name}")
    notes = Notes()
    with pytest.raises(ProviderError) as failed:
        await edit(provider, make_request(options=TWO), notes)
    assert type(failed.value) is expected
    assert "model gpt-image-2" in failed.value.message
    assert len(notes.partials) == 1


async def test_work_that_has_visibly_begun_is_not_asked_for_again_and_may_have_cost(
    config: OpenAIConfig, standin: OpenAIStandin, pool: ImagePool, make_request: MakeRequest
) -> None:
    standin.fail_next("mid_stream_server_error")
    account, notes = OpenAccount(), Notes()
    async with open_router([config], RoutingConfig(), LocalConfig(), pool) as router:
        result = await router.edit(
            make_request(options=TWO),
            fallback_allowed=True,
            until=inf,
            observer=notes,
            account=account,
        )
    assert (result.provider, result.fallback_reason) == ("local", "provider_bad_answer")
    assert len(standin.calls) == 1
    assert [call.cost for call in account.settled] == [None]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("credit_balance_exhausted", ProviderOutOfCredit),
        ("rate_limit_exceeded", ProviderRateLimited),
        ("server_error", ProviderServerError),
    ],
)
async def test_an_error_that_is_the_first_event_is_classified_by_its_code(
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
    name: str,
    expected: type[ProviderError],
) -> None:
    standin.fail_next(f"first_event_{name}")
    with pytest.raises(expected):
        await edit(provider, make_request(options=TWO))


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        ("stream_cut", ProviderBadAnswer),
        ("stream_without_result", ProviderBadAnswer),
        ("disconnect_mid_answer", ProviderConnectionLost),
        ("not_an_image", ProviderBadAnswer),
    ],
)
async def test_a_stream_without_its_result_is_an_error(
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
    trick: str,
    expected: type[ProviderError],
) -> None:
    standin.fail_next(trick)
    with pytest.raises(expected):
        await edit(provider, make_request(options=TWO))


async def test_a_call_that_is_given_up_mid_stream_leaves_no_connection(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    notes = Watching()
    with standin.streams.held():
        editing = asyncio.create_task(edit(provider, make_request(options=TWO), notes))
        standin.streams.let_go()
        await notes.shown.wait()
        editing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await editing
        await standin.given_up.wait()
