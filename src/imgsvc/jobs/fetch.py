"""Fetching the image that `image_url` names."""

import asyncio
import io
from dataclasses import dataclass

import aiohttp
from pydantic import BaseModel, ConfigDict, Field
from yarl import URL

from imgsvc import __version__
from imgsvc.callbacks import EgressPolicy, check_url
from imgsvc.errors import ImageFetchFailed, ImageFileTooLarge, naming

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 64 * 1024


class FetchConfig(BaseModel):
    """How images are fetched from `image_url`."""

    model_config = ConfigDict(extra="forbid")

    timeout: float = Field(
        30, gt=0, allow_inf_nan=False, description="Seconds for one image, redirects included."
    )
    max_redirects: int = Field(
        3, ge=0, le=3, description="Redirects followed, 3 at most; each is checked."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFetcher:
    """Fetches images over HTTP within limits of size, time and redirects."""

    session: aiohttp.ClientSession  # from callbacks.open_session: reaches allowed addresses only
    policy: EgressPolicy
    config: FetchConfig
    max_bytes: int

    async def fetch(self, url: str) -> bytes:
        """Return what a GET of the URL brings.

        Raises ImageFetchFailed, ImageFileTooLarge, InvalidUrl or ForbiddenUrl.
        """
        try:
            async with asyncio.timeout(self.config.timeout):
                with naming("image_url"):
                    return await self._follow(check_url(url))
        except TimeoutError as exc:
            raise ImageFetchFailed(
                f"image_url did not deliver the image within {self.config.timeout:g} s."
            ) from exc
        except aiohttp.ClientError as exc:
            raise ImageFetchFailed(
                "image_url could not be fetched: the connection failed or broke."
                " Check that the URL works from where this server runs."
            ) from exc

    async def _follow(self, target: URL) -> bytes:
        for _ in range(self.config.max_redirects + 1):
            answer = await self._get(target)
            if isinstance(answer, bytes):
                return answer
            target = answer
        raise ImageFetchFailed(
            f"image_url redirects more than {self.config.max_redirects} times."
            " Send the URL it ends at."
        )

    async def _get(self, url: URL) -> bytes | URL:
        """Return the body, or where a redirect leads to."""
        self.policy.check(url)
        headers = {"Accept": "image/*", "User-Agent": f"imgsvc/{__version__}"}
        async with self.session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status in _REDIRECTS:
                return _redirect_target(url, response.headers.get("Location", ""))
            if response.status != 200:
                raise ImageFetchFailed(
                    f"image_url answered with status {response.status}."
                    " Check that the URL is public and has not expired."
                )
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise ImageFetchFailed("image_url answered with a compressed body.")
            return await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        too_large = ImageFileTooLarge(f"image_url leads to more than {self.max_bytes} bytes.")
        if (response.content_length or 0) > self.max_bytes:
            raise too_large
        # In a list of pieces that are joined, the image would be in memory twice.
        content = io.BytesIO()
        async for chunk in response.content.iter_chunked(_CHUNK):
            content.write(chunk)
            if content.tell() > self.max_bytes:
                raise too_large
        return content.getvalue()  # of what nobody writes to any more: no copy


def _redirect_target(url: URL, location: str) -> URL:
    try:
        target = str(url.join(URL(location, encoded=True))) if location else None
    except ValueError:
        target = None
    if target is None:
        raise ImageFetchFailed("image_url redirects, but does not say where to.")
    return check_url(target)
