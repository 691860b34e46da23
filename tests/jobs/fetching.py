"""Fetchers of images, and redirects for them to follow."""

from typing import Any

import aiohttp

from imgsvc.callbacks import EgressPolicy
from imgsvc.jobs import FetchConfig, ImageFetcher
from standins.receiver import Answer, reply

LOOPBACK = EgressPolicy(allow_loopback=True)


def make_fetcher(
    session: aiohttp.ClientSession,
    *,
    policy: EgressPolicy = LOOPBACK,
    max_bytes: int = 1000,
    **config: Any,
) -> ImageFetcher:
    return ImageFetcher(
        session=session, policy=policy, config=FetchConfig(**config), max_bytes=max_bytes
    )


def redirect(location: str | None, status: int = 302, *, cookie: str = "") -> Answer:
    headers = {} if location is None else {"Location": location}
    return reply(status, headers | ({"Set-Cookie": cookie} if cookie else {}))
