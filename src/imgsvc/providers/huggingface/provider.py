"""Edits by models on Hugging Face, with what its client library knows of each provider.

Source: https://huggingface.co/docs/inference-providers/tasks/image-to-image

AsyncInferenceClient.image_to_image itself will not do: it encodes the picture, looks the
model up over the network and opens the result with Pillow, all on the event loop. So its
parts are used, which make the request and read the answer, in threads; the request is sent
from here.
"""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import httpx2
import orjson
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.inference._common import RequestParameters
from huggingface_hub.inference._providers import get_provider_helper
from huggingface_hub.inference._providers._common import TaskProviderHelper

from imgsvc.errors import (
    ProviderAccessDenied,
    ProviderBadAnswer,
    ProviderConnectionLost,
    ProviderError,
    ProviderModelNotFound,
    ProviderTimeout,
    ProviderUnreachable,
)
from imgsvc.imaging import exchange
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.base import Edited, EditRequest, Observer
from imgsvc.providers.huggingface.config import HuggingFaceConfig
from imgsvc.providers.huggingface.hub import Hub, open_hub
from imgsvc.providers.models import Model
from imgsvc.providers.results import finished
from imgsvc.providers.wire import (
    FAILED_LATER,
    MAX_PICTURE_BYTES,
    explained,
    kind_by_status,
    logged_call,
    open_wire,
    read_bytes,
    read_error,
    transport_errors,
)

_TASK = "image-to-image"
_LONGEST_LOADING = 600.0  # seconds; nobody waits longer for a model that is loading

# What reading something that is not of the expected form raises, and a link that is none
_MISREAD = (ValueError, LookupError, TypeError, AttributeError)
_NO_LINK = (httpx2.InvalidURL, httpx2.UnsupportedProtocol)


class HuggingFaceProvider:
    """Has each picture edited once; never retries."""

    def __init__(
        self, session: aiohttp.ClientSession, hub: Hub, config: HuggingFaceConfig, pool: ImagePool
    ) -> None:
        self.name = config.name
        self.models = config.offered
        self._session = session
        self._hub = hub
        self._config = config
        self._pool = pool

    async def edit(self, request: EditRequest, model: Model, _observer: Observer) -> Edited:
        """Return the edited picture.

        Raises ProviderError, ImageError or ImageProcessDied.
        """
        size = exchange.fitting(request.info.shown_size, self._config.max_pixels)
        # JPEG, because that is the type under which the library sends whatever it is given.
        picture = await self._pool.run(exchange.scaled, request.image, size, ImageFormat.JPEG)
        wanted = request.options.output_format or self._config.output_format
        parameters = {"prompt": request.prompt, "target_size": _target(request.options.size)}
        with logged_call(self.name, model.name), transport_errors(model.name):
            async with asyncio.timeout(self._config.timeout):
                content = await self._exchange(picture, parameters, wanted, model.name)
        return Edited(image=await finished(content, wanted, self._pool))

    async def probe(self) -> None:
        """Ask the endpoint whether it is there; without one the Hub, for key and first model.

        Raises ProviderError.
        """
        first, *_ = self.models
        deadline = time.monotonic() + self._config.timeout
        with transport_errors(first):
            async with asyncio.timeout(self._config.timeout):
                if self._config.base_url is not None:
                    await self._probe_endpoint(self._config.base_url, first)
                    return
                with _lookup_errors(first):
                    await self._hub.run(deadline, self._look_up, first)

    async def _exchange(
        self, picture: bytes, parameters: Mapping[str, Any], wanted: ImageFormat, model: str
    ) -> bytes:
        """Return the file that the model makes of the picture."""
        deadline = time.monotonic() + self._config.timeout
        with _lookup_errors(model):
            helper, prepared, body = await self._hub.run(
                deadline, self._prepare, picture, parameters, wanted, model
            )
        async with self._session.post(
            prepared.url,
            # A stream and not bytes, which would go to the socket all at once.
            data=io.BytesIO(body),
            headers=prepared.headers,
            allow_redirects=False,
        ) as response:
            if response.status not in {200, 201}:
                raise await _refusal(response, model)
            answer = await read_bytes(response, MAX_PICTURE_BYTES)
        with _answer_errors(model):
            content = await self._hub.run(deadline, helper.get_response, answer, prepared)
        if not isinstance(content, bytes):
            raise ProviderBadAnswer("The image API's answer holds no image.")
        return content

    def _prepare(
        self, picture: bytes, parameters: Mapping[str, Any], wanted: ImageFormat, model: str
    ) -> tuple[TaskProviderHelper, RequestParameters, bytes]:
        """Return what knows the provider, the request to make, and its body; takes a while."""
        helper, name = self._helper(model)
        prepared = helper.prepare_request(
            inputs=picture,
            parameters=dict(parameters),
            headers={"accept": wanted.media_type},
            model=name,
            api_key=self._config.api_key.get_secret_value(),
        )
        body = prepared.data
        return helper, prepared, orjson.dumps(prepared.json) if body is None else bytes(body)

    def _helper(self, model: str) -> tuple[TaskProviderHelper, str]:
        """Return what knows the provider, and what it is to be asked for."""
        name = self._config.base_url or model
        return get_provider_helper(self._config.inference_provider, _TASK, name), name

    def _look_up(self, model: str) -> None:
        helper, name = self._helper(model)
        helper._prepare_mapping_info(name)  # noqa: SLF001 - the library has no public way
        key = self._config.api_key.get_secret_value()
        if key.startswith("hf_"):
            HfApi().whoami(token=key)

    async def _probe_endpoint(self, url: str, model: str) -> None:
        async with self._session.get(
            url,
            headers={"Authorization": f"Bearer {self._config.api_key.get_secret_value()}"},
            allow_redirects=False,
        ) as response:
            if response.status not in {200, 405}:  # the latter if it knows nothing but POST
                raise await _refusal(response, model)


@asynccontextmanager
async def open_huggingface(
    config: HuggingFaceConfig, pool: ImagePool
) -> AsyncIterator[HuggingFaceProvider]:
    """Yield the provider with its session and threads for its whole life."""
    async with (
        open_wire(config.timeout) as session,
        open_hub(lambda: config.api_key.get_secret_value()) as hub,  # noqa: PLW0108 - the key is replaced, not changed
    ):
        yield HuggingFaceProvider(session, hub, config, pool)


def _target(size: str | None) -> dict[str, int] | None:
    if size is None or size == "auto":
        return None
    width, height = size.split("x")
    return {"width": int(width), "height": int(height)}


async def _refusal(response: aiohttp.ClientResponse, model: str) -> ProviderError:
    """Return the error that an answer without a picture stands for.

    A model that is loading says how long that may take, in the field `estimated_time`.
    """
    error = explained(
        kind_by_status(response.status),
        model,
        status=response.status,
        headers=response.headers,
    )
    if response.status == 503 and error.retry_after is None:
        seconds = (await read_error(response)).get("estimated_time")
        if isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_LOADING:
            error.retry_after = float(seconds)
    return error


@contextmanager
def _lookup_errors(model: str) -> Iterator[None]:
    """Turn what the library raises before the picture is sent into errors of ours."""
    try:
        yield
    except HfHubHTTPError as exc:
        raise _explained_refusal(exc, model) from exc
    except httpx2.HTTPError as exc:
        raise explained(ProviderUnreachable, model) from exc
    except _MISREAD as exc:  # also how it says that a provider does not have the model
        raise explained(ProviderModelNotFound, model) from exc


@contextmanager
def _answer_errors(model: str) -> Iterator[None]:
    """Turn what the library raises once the request has been taken into errors of ours.

    The model may be at work, so none of them may lead to a repetition: also a status that
    would mean, in answer to the request itself, that nothing was done.
    """
    try:
        yield
    except HfHubHTTPError as exc:
        status = f"status {exc.response.status_code}"
        raise ProviderBadAnswer(f"{FAILED_LATER} (model {model}, {status})") from exc
    except httpx2.TimeoutException as exc:
        raise explained(ProviderTimeout, model) from exc
    except (*_MISREAD, *_NO_LINK) as exc:
        raise ProviderBadAnswer("The image API's answer holds no image.") from exc
    except httpx2.HTTPError as exc:
        raise explained(ProviderConnectionLost, model) from exc


def _explained_refusal(exc: HfHubHTTPError, model: str) -> ProviderError:
    match exc:
        case GatedRepoError():
            kind: type[ProviderError] = ProviderAccessDenied
        case RepositoryNotFoundError():
            kind = ProviderModelNotFound
        case _:
            kind = kind_by_status(exc.response.status_code)
    response = exc.response
    return explained(kind, model, status=response.status_code, headers=response.headers)
