"""Runs huggingface_hub where it does no harm: in threads of its own, within bounds.

It looks models up, waits for results and fetches them with one synchronous client for the
whole process, which follows redirects and the environment, has no time limit and reads
answers of any size. Here that client is replaced by one that does none of it.
"""

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar, cast

import httpx2
from huggingface_hub import close_session, constants, set_client_factory

from imgsvc.errors import ProviderBadAnswer
from imgsvc.providers.wire import CONNECT_TIMEOUT, MAX_PICTURE_BYTES

P = ParamSpec("P")
T = TypeVar("T")

HUB = "https://huggingface.co"
ROUTER = "https://router.huggingface.co"

_SILENCE = 30.0
"""Seconds within which something has to come: nothing here is work that takes longer."""

_MAX_THREADS = 64
"""Each call of an inference provider that works through a queue keeps a thread waiting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Errand:
    """What a thread is to do, and until when; seen by the client through the context."""

    deadline: float  # as time.monotonic() counts
    given_up: threading.Event
    token: str

    def left(self, request: httpx2.Request) -> float:
        """Return the seconds left; raise ReadTimeout if there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0 or self.given_up.is_set():
            raise httpx2.ReadTimeout("The time for the edit is over.", request=request)
        return left


_ERRAND: contextvars.ContextVar[_Errand] = contextvars.ContextVar("errand")


class Hub:
    """Lends threads to huggingface_hub; made by open_hub."""

    def __init__(self, executor: ThreadPoolExecutor, token: Callable[[], str]) -> None:
        self._executor = executor
        self._token = token

    async def run(
        self, deadline: float, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return func(*args, **kwargs), called in a thread.

        If the await is cancelled, the thread ends with its next step over the network.
        Raises what func raises; ReadTimeout, at a step, once the deadline is over.
        """
        errand = _Errand(deadline=deadline, given_up=threading.Event(), token=self._token())
        context = contextvars.copy_context()
        context.run(_ERRAND.set, errand)
        task = partial(context.run, func, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, task)
        finally:
            errand.given_up.set()


@asynccontextmanager
async def open_hub(token: Callable[[], str]) -> AsyncIterator[Hub]:
    """Yield threads in which the environment has no influence on huggingface_hub.

    What `token` returns, for each errand anew, goes to the Hub, and nowhere else, if it is one
    of Hugging Face.
    """
    # All of these are read from the environment when it is imported.
    constants.ENDPOINT = HUB
    constants.INFERENCE_PROXY_TEMPLATE = ROUTER + "/{provider}"
    constants.HF_HUB_OFFLINE = False
    constants.HF_HUB_DISABLE_IMPLICIT_TOKEN = True
    constants.HF_HUB_DISABLE_TELEMETRY = True  # it would tell which tools run here
    constants.HF_HUB_USER_AGENT_ORIGIN = None
    # It logs URLs, and warnings that servers send, to stderr in a form of its own.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    set_client_factory(_client)
    executor = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="huggingface")
    try:
        yield Hub(executor, token)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        close_session()


def _client() -> httpx2.Client:
    return httpx2.Client(
        transport=_Transport(trust_env=False), trust_env=False, follow_redirects=False
    )


class _Transport(httpx2.HTTPTransport):
    """Keeps each request within the time and the size that its errand has."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request."""
        errand = _ERRAND.get()
        url = str(request.url)
        if request.url.scheme != "https" and not url.startswith((HUB, ROUTER)):
            raise ProviderBadAnswer("The image API answered with a link that is not https.")
        if url.startswith(f"{HUB}/") and errand.token.startswith("hf_"):
            request.headers["authorization"] = f"Bearer {errand.token}"
        left = errand.left(request)
        limits = dict.fromkeys(("read", "write", "pool"), min(left, _SILENCE))
        request.extensions["timeout"] = limits | {"connect": min(left, CONNECT_TIMEOUT)}
        response = super().handle_request(request)
        stream = cast("httpx2.SyncByteStream", response.stream)
        response.stream = _Bounded(stream, request, errand)
        return response


class _Bounded(httpx2.SyncByteStream):
    def __init__(
        self, stream: httpx2.SyncByteStream, request: httpx2.Request, errand: _Errand
    ) -> None:
        self._stream = stream
        self._request = request
        self._errand = errand

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > MAX_PICTURE_BYTES:
                raise ProviderBadAnswer(
                    "The image API's answer is too large to be an edited image."
                )
            self._errand.left(self._request)
            yield chunk

    def close(self) -> None:
        self._stream.close()
