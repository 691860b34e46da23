"""Edits by OpenAI's image API, or by any server that speaks the same protocol.

Source: https://platform.openai.com/docs/api-reference/images/createEdit
"""

import asyncio
import io
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import PurePath
from typing import Any

import aiohttp
import httpx2
import structlog
from openai import (
    AsyncAzureOpenAI,
    AsyncOpenAI,
    DefaultAioHttpClient,
    NotFoundError,
    OpenAIError,
)
from openai.pagination import AsyncPage
from openai.types import Model as ModelDescription

from imgsvc.errors import ProviderBadAnswer, ProviderError, ProviderNotConfigured
from imgsvc.imaging import ops
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import SNIFF_BYTES, ImageFormat, sniff
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.base import Edited, EditRequest, Observer, Usage
from imgsvc.providers.models import Model
from imgsvc.providers.openai.answer import Answer, AnswerReader
from imgsvc.providers.openai.classify import classify
from imgsvc.providers.openai.config import OpenAIConfig
from imgsvc.providers.openai.form import choices, mask_file, result_format
from imgsvc.providers.openai.stream import follow, is_stream
from imgsvc.providers.results import finished, format_of

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

MAX_UPLOAD_BYTES = 50_000_000
"""The API takes files below 50 MB."""

_MAX_TOKENS = 10**9  # of one call; whoever tells more cannot count
_CONNECT_TIMEOUT = 10.0  # seconds; a server that is there accepts much sooner


class OpenAIProvider:
    """Sends each picture to the image API once; never retries."""

    def __init__(self, client: AsyncOpenAI, config: OpenAIConfig, pool: ImagePool) -> None:
        self.name = config.name
        self.models = config.offered
        self._client = client
        self._config = config
        self._pool = pool

    async def edit(self, request: EditRequest, model: Model, observer: Observer) -> Edited:
        """Return the edited picture as the base64 text that the API sent.

        Raises ProviderError, ImageError or ImageProcessDied.
        """
        options, config = request.options, self._config
        picture = await self._upload(request)
        parameters: dict[str, Any] = {
            "model": model.name,
            "prompt": request.prompt,
            "image": [picture] if model.image_field == "image[]" else picture,
            "n": 1,
        } | choices(options, model, config)
        if request.mask is not None:
            mask = await mask_file(request.mask, model, self._pool)
            parameters["mask"] = ("mask.png", io.BytesIO(mask), ImageFormat.PNG.media_type)
        if partials := min(options.stream_partials, model.partial_images):
            parameters |= {"stream": True, "partial_images": partials}
        answer = await self._call(parameters, observer)
        image = await self._result(answer.base64, result_format(options, model, config), model)
        return Edited(image=image, usage=_usage(answer.usage))

    async def probe(self) -> None:
        """Ask for the configured model: free of charge, but with key and network.

        Of Azure only key and network are tried: it does not tell what is deployed. Raises
        ProviderError.
        """
        model = self._config.model
        with mapped(model):
            async with asyncio.timeout(self._config.timeout):
                try:
                    found: object = await self._client.models.retrieve(model)
                except NotFoundError:  # many servers have nothing but the list
                    listed = await self._client.models.list()
                    if not self._config.is_azure and model not in _names(listed):
                        raise
                    return
        if not isinstance(found, ModelDescription):
            raise ProviderBadAnswer("The image API's base URL leads to something else.")

    async def _upload(self, request: EditRequest) -> tuple[str, io.BytesIO, str]:
        """Return name, content and type: the type is what the bytes are, not what they claim.

        A stream and not bytes, because the SDK hands bytes to the socket all at once.
        """
        if ops.needs_conversion(request.info):
            content = await self._pool.run(
                ops.prepare_for_provider, request.image, request.info, MAX_UPLOAD_BYTES
            )
        else:
            content = await asyncio.to_thread(request.image.read_bytes)
        kind = sniff(content[:SNIFF_BYTES]) or request.info.format
        return upload_name(request.filename, kind), io.BytesIO(content), kind.media_type

    async def _result(self, base64: bytes, wanted: ImageFormat, model: Model) -> EncodedImage:
        """Return the API's picture, which has the format wanted or is given it."""
        found = format_of(base64, is_base64=True)
        if found is not wanted and not model.any_format:
            raise ProviderBadAnswer(f"The image API answered with {found} instead of {wanted}.")
        return await finished(base64, wanted, self._pool, is_base64=True)

    async def _call(self, parameters: dict[str, Any], observer: Observer) -> Answer:
        started = time.monotonic()
        log = _log.bind(provider=self.name, model=parameters["model"])
        try:
            with mapped(parameters["model"]):
                async with asyncio.timeout(self._config.timeout):
                    request_id, answer = await self._exchange(parameters, observer)
        except ProviderError as error:
            seconds = round(time.monotonic() - started, 3)
            log.warning("provider_called", seconds=seconds, error=error.kind, reason=error.message)
            raise
        seconds = round(time.monotonic() - started, 3)
        log.info("provider_called", seconds=seconds, upstream_id=request_id, usage=answer.usage)
        return answer

    async def _exchange(
        self, parameters: dict[str, Any], observer: Observer
    ) -> tuple[str | None, Answer]:
        edits = self._client.images.with_streaming_response
        # Compressing base64 saves a quarter at most, and inflating it is work for this loop.
        headers = {"Accept-Encoding": "identity"}
        async with edits.edit(**parameters, extra_headers=headers) as response:
            if is_stream(response):
                partials = parameters.get("partial_images", 0)
                return response.request_id, await follow(response, observer, partials)
            reader = AnswerReader()
            async for chunk in response.iter_bytes():
                reader.feed(chunk)
            return response.request_id, await asyncio.to_thread(reader.close)


@asynccontextmanager
async def open_openai(config: OpenAIConfig, pool: ImagePool) -> AsyncIterator[OpenAIProvider]:
    """Yield the provider with one client for its whole life.

    Raises ProviderNotConfigured without a key.
    """
    async with open_client(config) as client:
        yield OpenAIProvider(client, config, pool)


@asynccontextmanager
async def open_client(config: OpenAIConfig) -> AsyncIterator[AsyncOpenAI]:
    """Yield a client that asks once and reads nothing from the environment.

    Raises ProviderNotConfigured without a key.
    """
    if config.api_key is None:
        raise ProviderNotConfigured

    async def key() -> str:
        """Return the key as it is now: the client asks at each call."""
        return config.api_key.get_secret_value() if config.api_key else ""

    timeout = httpx2.Timeout(config.timeout, connect=_CONNECT_TIMEOUT)
    async with DefaultAioHttpClient(
        trust_env=False, follow_redirects=False, timeout=timeout
    ) as http_client:
        base_url = config.base_url or "https://api.openai.com/v1"
        client = (
            AsyncOpenAI(
                api_key=key,
                base_url=base_url,
                http_client=http_client,
                max_retries=0,
                timeout=timeout,
            )
            if config.api_version is None
            else AsyncAzureOpenAI(
                api_key=key,
                azure_endpoint=base_url,
                api_version=config.api_version,
                http_client=http_client,
                max_retries=0,
                timeout=timeout,
            )
        )
        # The SDK fills these from OPENAI_ORG_ID, OPENAI_PROJECT_ID and
        # OPENAI_CUSTOM_HEADERS, and takes no argument that says not to.
        client.organization = None
        client.project = None
        client._custom_headers = {}  # noqa: SLF001 - the SDK has no public way
        yield client


def _usage(told: Mapping[str, Any]) -> Usage | None:
    """Return the tokens that an answer tells; None if it tells none."""
    details = told.get("input_tokens_details")
    match told, details:
        case {"output_tokens": int(output)}, {"text_tokens": int(text), "image_tokens": int(image)}:
            if all(0 <= count <= _MAX_TOKENS for count in (text, image, output)):
                return Usage(text_tokens=text, image_tokens=image, output_tokens=output)
    return None


def _names(models: object) -> set[str]:
    """Return the names of the models in a list; none of what is no list."""
    match models:
        case AsyncPage(data=[*entries]):
            return {entry.id for entry in entries if isinstance(entry, ModelDescription)}
    return set()


def upload_name(filename: str | None, kind: ImageFormat) -> str:
    """Return the caller's file name made safe, with the extension that is true."""
    stem = PurePath((filename or "").replace("\\", "/")).stem
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem)[:100].strip("._-")
    return f"{safe or 'image'}.{kind.extension}"


@contextmanager
def mapped(model: str) -> Iterator[None]:
    """Turn what the SDK and its transport raise into errors of ours.

    The SDK wraps most exceptions of its HTTP client, and that one most of aiohttp's;
    what an answer's body raises while it is read comes through unwrapped.
    """
    try:
        yield
    except (OpenAIError, httpx2.HTTPError, aiohttp.ClientError, TimeoutError) as exc:
        raise classify(exc, model=model) from exc
