"""Edits by a Stable Diffusion web UI, over ``/sdapi/v1/img2img``.

Source: https://github.com/AUTOMATIC1111/stable-diffusion-webui, ``modules/api/``
"""

import asyncio
import io
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import Any

import aiohttp
import orjson
import pybase64

from imgsvc.errors import (
    ProviderBadAnswer,
    ProviderModelNotFound,
    ProviderRefusedParameter,
)
from imgsvc.imaging import exchange
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.masks import mask_that_edits
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.automatic1111.config import Automatic1111Config
from imgsvc.providers.base import Edited, EditRequest, Observer
from imgsvc.providers.cutting import PictureDocument
from imgsvc.providers.models import Model
from imgsvc.providers.results import finished
from imgsvc.providers.wire import (
    explained,
    kind_by_status,
    logged_call,
    open_wire,
    read_bytes,
    read_error,
    transport_errors,
)

_PICTURE_START = re.compile(rb'"images"\s*:\s*\[\s*"')
_MAX_LIST_BYTES = 8 * 2**20  # of the list of checkpoints
_WORD = re.compile(r"[A-Za-z]\w{0,63}")

# A picture of another ratio is cropped to the size asked for, not stretched.
_STRETCH, _CROP = 0, 1
# As the web UI itself does it, where its API has other defaults: what is under the mask is
# what is changed, and the whole picture is looked at for it.
_INPAINT: Mapping[str, Any] = {
    "inpainting_fill": 1,
    "inpaint_full_res": False,
    "inpainting_mask_invert": 0,
    "mask_blur": 4,
}


class Automatic1111Provider:
    """Sends each picture to the web UI once; never retries."""

    def __init__(
        self, session: aiohttp.ClientSession, config: Automatic1111Config, pool: ImagePool
    ) -> None:
        self.name = config.name
        self.models = config.offered
        self._session = session
        self._config = config
        self._pool = pool

    async def edit(self, request: EditRequest, model: Model, _observer: Observer) -> Edited:
        """Return the edited picture.

        Raises ProviderError, ImageError or ImageProcessDied.
        """
        body = await self._body(request, model.name)
        with logged_call(self.name, model.name), transport_errors(model.name):
            async with asyncio.timeout(self._config.timeout):
                # It would edit with the checkpoint that it has loaded in place of an unknown one.
                await self._find(model.name)
                picture = await self._img2img(body, model.name)
        wanted = request.options.output_format or self._config.output_format
        return Edited(image=await finished(picture, wanted, self._pool, is_base64=True))

    async def probe(self) -> None:
        """Ask for the first checkpoint.

        Raises ProviderError.
        """
        first, *_ = self.models
        with transport_errors(first):
            async with asyncio.timeout(self._config.timeout):
                await self._find(first)

    async def _body(self, request: EditRequest, model: str) -> bytes:
        """Return the JSON to send, with the picture no larger than the web UI makes use of."""
        config, shown = self._config, request.info.shown_size
        asked = _pixels(request.options.size)
        sent = exchange.fitting(shown, max(config.max_pixels, math.prod(asked or ())))
        picture = await self._pool.run(exchange.scaled, request.image, sent, ImageFormat.PNG)
        mask = None
        if request.mask is not None:
            mask = await self._pool.run(mask_that_edits, request.mask, "white", sent)
        width, height = asked or sent
        settings = {
            "prompt": request.prompt,
            "negative_prompt": config.negative_prompt,
            "denoising_strength": config.denoising_strength,
            "steps": config.steps,
            "cfg_scale": config.cfg_scale,
            "sampler_name": config.sampler_name,
            "width": width,
            "height": height,
            "resize_mode": _STRETCH if asked is None else _CROP,
            "n_iter": 1,
            "batch_size": 1,
            "override_settings": {"sd_model_checkpoint": model},
            "override_settings_restore_afterwards": True,
        }
        return await asyncio.to_thread(_document, settings, picture, mask)

    def _authorization(self) -> Mapping[str, str]:
        """Return the header with name and password as they are now, if there are any."""
        username, password = self._config.username, self._config.password
        if username is None or password is None:
            return {}
        value = aiohttp.encode_basic_auth(username, password.get_secret_value())
        return {"Authorization": value}

    async def _find(self, model: str) -> None:
        """Raise ProviderModelNotFound unless the web UI has this checkpoint."""
        async with self._session.get(
            f"{self._config.base_url}/sdapi/v1/sd-models",
            headers=self._authorization(),
            allow_redirects=False,
        ) as response:
            await _check(response, model)
            content = await read_bytes(response, _MAX_LIST_BYTES)
        try:
            names = set(_names(await asyncio.to_thread(orjson.loads, content)))
        except (ValueError, TypeError, AttributeError) as exc:
            raise ProviderBadAnswer("The image API's base URL leads to something else.") from exc
        if model not in names:
            raise explained(ProviderModelNotFound, model)

    async def _img2img(self, body: bytes, model: str) -> bytes:
        """Return the picture that the web UI makes, as base64."""
        answer = PictureDocument(_PICTURE_START)
        async with self._session.post(
            f"{self._config.base_url}/sdapi/v1/img2img",
            # A stream and not bytes, which would go to the socket all at once.
            data=io.BytesIO(body),
            headers={"Content-Type": "application/json", **self._authorization()},
            allow_redirects=False,
        ) as response:
            await _check(response, model)
            async for chunk in response.content.iter_any():
                answer.feed(chunk)
        match answer.rest():
            case {"images": ["", *_]} if answer.has_picture:
                return await asyncio.to_thread(answer.base64)
        raise ProviderBadAnswer("The image API's answer holds no image.")


@asynccontextmanager
async def open_automatic1111(
    config: Automatic1111Config, pool: ImagePool
) -> AsyncIterator[Automatic1111Provider]:
    """Yield the provider with one session for its whole life."""
    async with open_wire(config.timeout) as session:
        yield Automatic1111Provider(session, config, pool)


def _pixels(size: str | None) -> tuple[int, int] | None:
    """Return width and height; None if the caller leaves them to us."""
    if size is None or size == "auto":
        return None
    width, height = size.split("x")
    return int(width), int(height)


def _document(settings: Mapping[str, Any], picture: bytes, mask: bytes | None) -> bytes:
    """Return the JSON object; no large text in it is looked through for quotes."""
    parts = [b',"init_images":["', pybase64.b64encode(picture), b'"]}']
    if mask is not None:
        settings = {**settings, **_INPAINT}
        parts = [b',"mask":"', pybase64.b64encode(mask), b'"', *parts]
    return b"".join([orjson.dumps(settings).removesuffix(b"}"), *parts])


def _names(checkpoints: Any) -> Iterator[str]:
    """Yield every name that a checkpoint of the list goes by in override_settings."""
    for checkpoint in checkpoints:
        told = {key: text for key, text in checkpoint.items() if isinstance(text, str)}
        title = told.get("title", "")
        file = PurePosixPath(told.get("filename", "").replace("\\", "/"))
        yield from (title, title.rpartition(" [")[0], file.name, file.stem)
        yield from (told.get(key, "") for key in ("model_name", "hash", "sha256"))


async def _check(response: aiohttp.ClientResponse, model: str) -> None:
    """Raise the error that an answer other than 200 stands for.

    The web UI's own errors have a field `error`, the name of a Python exception; what it
    does not know at all is answered by its framework, without one.
    """
    if response.status == 200:
        return
    name = (await read_error(response)).get("error")
    details = [f"error {name}"] if isinstance(name, str) and _WORD.fullmatch(name) else []
    if response.status == 404 and name is None:
        raise ProviderModelNotFound(
            "There is no such API at the base URL: the operator has to start the web UI with"
            " --api, or to correct the URL."
        )
    kind = ProviderRefusedParameter if response.status == 404 else kind_by_status(response.status)
    raise explained(kind, model, *details, status=response.status, headers=response.headers)
