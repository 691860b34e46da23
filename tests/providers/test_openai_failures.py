import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from imgsvc import errors
from imgsvc.errors import ProviderError
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import EditRequest, OpenAIConfig
from imgsvc.providers.openai.provider import OpenAIProvider, open_openai
from providers.desks import edit
from providers.pictures import encoded
from standins.openai import OpenAIStandin, openai_standin
from standins.openai_wire import FAILURES

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]

EXPECTED = {
    "billing_hard_limit_reached": errors.ProviderOutOfCredit,
    "insufficient_quota": errors.ProviderOutOfCredit,
    "credit_balance_exhausted": errors.ProviderOutOfCredit,
    "organization_spend_limit_exceeded": errors.ProviderOutOfCredit,
    "project_spend_limit_exceeded": errors.ProviderOutOfCredit,
    "organization_usage_limit_exceeded": errors.ProviderOutOfCredit,
    "billing_not_active": errors.ProviderOutOfCredit,
    "rate_limit_exceeded": errors.ProviderRateLimited,
    "slow_down": errors.ProviderRateLimited,
    "moderation_blocked": errors.ProviderRefusedContent,
    "content_policy_violation": errors.ProviderRefusedContent,
    "invalid_image_file": errors.ProviderRefusedImage,
    "invalid_image": errors.ProviderRefusedImage,
    "unknown_parameter": errors.ProviderRefusedParameter,
    "invalid_value": errors.ProviderRefusedParameter,
    "invalid_api_key": errors.ProviderKeyRejected,
    "organization_not_verified": errors.ProviderAccessDenied,
    "model_not_found": errors.ProviderModelNotFound,
    "server_error": errors.ProviderServerError,
    "server_is_overloaded": errors.ProviderServerError,
    "gateway_html": errors.ProviderServerError,
    "disconnect": errors.ProviderConnectionLost,
    "disconnect_mid_answer": errors.ProviderConnectionLost,
    "web_page": errors.ProviderBadAnswer,
    "redirect": errors.ProviderBadAnswer,
    "url_answer": errors.ProviderBadAnswer,
    "empty_data": errors.ProviderBadAnswer,
    "not_base64": errors.ProviderBadAnswer,
    "not_an_image": errors.ProviderBadAnswer,
    "broken_json": errors.ProviderBadAnswer,
}


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
async def test_every_failure_is_told_apart_after_a_single_call_and_keeps_the_key(
    name: str,
    expected: type[ProviderError],
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
) -> None:
    standin.fail_always(name)
    with pytest.raises(ProviderError) as caught, capture_logs() as logs:
        await edit(provider, make_request())

    assert type(caught.value) is expected
    assert len(standin.paths) == 1
    told = f"{caught.value.message} {logs}"
    assert standin.api_key[:8] not in told
    assert "Make it night" not in told
    assert standin.api_key[-4:] not in told


async def test_every_error_answer_of_the_stand_in_is_in_the_table() -> None:
    assert EXPECTED.keys() >= FAILURES.keys()


async def test_a_rate_limit_passes_on_how_long_to_wait(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.fail_next("rate_limit_exceeded")
    with pytest.raises(errors.ProviderRateLimited) as caught:
        await edit(provider, make_request())
    assert caught.value.retry_after == 12.0


async def test_an_answer_of_another_type_than_asked_for_is_refused(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.answer = encoded("JPEG")
    with pytest.raises(errors.ProviderBadAnswer, match="jpeg instead of png"):
        await edit(provider, make_request())


async def test_an_answer_that_does_not_come_ends_at_the_deadline(
    config: OpenAIConfig, pool: ImagePool, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.fail_always("hang")
    async with open_openai(config.model_copy(update={"timeout": 0.2}), pool) as provider:
        with pytest.raises(errors.ProviderTimeout):
            await edit(provider, make_request())
        with pytest.raises(errors.ProviderTimeout):
            await edit(provider, make_request())
    assert len(standin.calls) == 2


async def test_a_cancelled_edit_is_cancelled_and_not_an_error(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.fail_always("hang")
    task = asyncio.create_task(edit(provider, make_request()), name="edit")
    await standin.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_server_that_is_not_there_is_unreachable(
    config: OpenAIConfig, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with openai_standin() as gone:
        base_url = gone.base_url
    async with open_openai(config.model_copy(update={"base_url": base_url}), pool) as provider:
        with pytest.raises(errors.ProviderUnreachable):
            await edit(provider, make_request())
        with pytest.raises(errors.ProviderUnreachable):
            await provider.probe()


async def test_a_server_that_does_not_speak_http_gives_a_bad_answer(
    config: OpenAIConfig, pool: ImagePool, make_request: MakeRequest
) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_10.2\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        elsewhere = config.model_copy(update={"base_url": f"http://127.0.0.1:{port}/v1"})
        async with open_openai(elsewhere, pool) as provider:
            with pytest.raises((errors.ProviderBadAnswer, errors.ProviderConnectionLost)):
                await edit(provider, make_request())
