"""Posts how far something is; unlike callbacks, nobody has to get them.

One attempt each, unsigned, and without the headers of webhooks: they name a callback that
is delivered at least once, and this is none.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import aiohttp
import structlog
from structlog.typing import FilteringBoundLogger

from imgsvc.callbacks import protocol
from imgsvc.callbacks.guard import check_url
from imgsvc.callbacks.protocol import CallbacksConfig, Verdict
from imgsvc.callbacks.sender import explain, shown_host

_log: FilteringBoundLogger = structlog.get_logger(__name__)


class PostOutcome(StrEnum):
    """How a post went."""

    DELIVERED = "delivered"  # the receiver has it
    FAILED = "failed"  # it has not; another one may come
    REFUSED = "refused"  # it has not, and none may follow: 410, or an address not to be called


_OUTCOMES = {
    Verdict.DELIVERED: PostOutcome.DELIVERED,
    Verdict.RETRY: PostOutcome.FAILED,
    Verdict.DEAD: PostOutcome.REFUSED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """How one post went."""

    outcome: PostOutcome
    host: str  # for the log
    status: int | None = None  # HTTP status; None without an answer
    error: str | None = None  # a short public phrase; None if delivered


class ProgressSender:
    """Makes posts over one shared session from :func:`imgsvc.callbacks.open_session`."""

    def __init__(self, session: aiohttp.ClientSession, config: CallbacksConfig) -> None:
        self._session = session
        self._config = config
        self.posts: Counter[PostOutcome] = Counter()
        """How many have ended in which way."""

    async def post(self, url: str, request_id: str, body: bytes) -> Post:
        """Send JSON once and say how it went; raise nothing but CancelledError.

        `url` is as the caller gave it.
        """
        post = await self._attempt(url, request_id, body)
        self.posts[post.outcome] += 1
        return post

    async def _attempt(self, url: str, request_id: str, body: bytes) -> Post:
        host = shown_host(url)
        try:
            status = await self._status(url, request_id, body)
        except Exception as exc:  # noqa: BLE001 - a batch must not fail for it; surprises are logged
            known = explain(exc)
            if known is None:
                _log.error("progress_post_broke", host=host, exc_info=exc)
                return Post(outcome=PostOutcome.FAILED, host=host, error="internal error")
            verdict, error = known
            return Post(outcome=_OUTCOMES[verdict], host=host, error=error)
        verdict = protocol.judge(status)
        return Post(
            outcome=_OUTCOMES[verdict],
            host=host,
            status=status,
            error=None if verdict is Verdict.DELIVERED else f"status {status}",
        )

    async def _status(self, url: str, request_id: str, body: bytes) -> int:
        async with self._session.post(
            protocol.rewrite(check_url(url), self._config.rewrite),
            data=body,
            headers=protocol.common_headers(request_id),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=self._config.timeout),
        ) as response:
            return response.status
