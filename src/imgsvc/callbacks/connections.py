"""Connections that lead only where the policy allows, whoever names the URL.

Three gates, each of which sees what the one before cannot: the URL as written, the
addresses a name resolves to, and the address that is really connected to.
"""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from imgsvc.callbacks.guard import EgressPolicy
from imgsvc.errors import ForbiddenUrl


class _RefusedError(OSError):
    """Carries a refusal through aiohttp, which lets an OSError pass from anywhere."""

    def __init__(self) -> None:
        # Always the same text: of several equal errors, aiohappyeyeballs raises the first
        # one itself instead of a summary.
        super().__init__(errno.EACCES, "address not allowed")


# The host of the URL that the current task is connecting to. Sockets are made in tasks
# below it, which inherit this; they see an address, but not the name that led to it.
_destination: ContextVar[str] = ContextVar("_destination")


def _refuse(policy: EgressPolicy, address: str, port: int, *, host: str) -> None:
    try:
        policy.check_address(ip_address(address), port, host=host)
    except (ForbiddenUrl, ValueError) as exc:
        raise _RefusedError from exc


class _GuardedResolver(AbstractResolver):
    """Refuses a name if any of its addresses is forbidden."""

    def __init__(self, policy: EgressPolicy, resolver: AbstractResolver) -> None:
        self._policy = policy
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            _refuse(self._policy, result["host"], port, host=host)
        return results

    async def close(self) -> None:
        await self._resolver.close()


class _CheckedConnector(aiohttp.TCPConnector):
    """Raises ForbiddenUrl from the request for URLs that alone tell that they may not be called.

    The addresses behind the names are the proxy's affair, and nobody else is connected to.
    """

    def __init__(self, policy: EgressPolicy, **options: Any) -> None:
        self._policy = policy
        super().__init__(**options)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        self._policy.check(req.url)
        if (req.proxy is None) is not (self._policy.proxy is None):
            raise ForbiddenUrl
        if self._policy.proxy is not None:
            _lead_through(req, URL(self._policy.proxy().get_secret_value()))
        return await super().connect(req, traces, timeout)


def _lead_through(req: aiohttp.ClientRequest, proxy: URL) -> None:
    """Send a request through the proxy as it is now, whatever it was when the session began."""
    credentials: dict[str, str] = {}
    if proxy.user is not None:
        credentials = {hdrs.PROXY_AUTHORIZATION: _authorization(proxy)}
    # The password is not in the proxy's URL, which aiohttp quotes in its errors. Only what
    # opens a tunnel has headers of the proxy's own.
    is_tunnelled = req.is_ssl()
    req.update_proxy(proxy.with_user(None), None, credentials if is_tunnelled else None)
    if not is_tunnelled:
        req.headers.update(credentials)


def proxy_secrets(proxy: URL) -> set[str]:
    """Return what nobody but the proxy may know of its URL, in the forms that it is sent in."""
    if proxy.user is None:
        return set()
    return {proxy.password or "", _authorization(proxy).removeprefix("Basic ")}


def _authorization(proxy: URL) -> str:
    return aiohttp.encode_basic_auth(proxy.user or "", proxy.password or "")


class _GuardedConnector(_CheckedConnector):
    """Connects only where the policy allows; raises ForbiddenUrl from the request."""

    def __init__(self, policy: EgressPolicy, *, resolver: AbstractResolver, **options: Any) -> None:
        def open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
            family, kind, proto, _, address = info
            _refuse(policy, str(address[0]), int(address[1]), host=_destination.get())
            return socket.socket(family, kind, proto)

        self._guard = _GuardedResolver(policy, resolver)
        super().__init__(policy, resolver=self._guard, socket_factory=open_socket, **options)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        token = _destination.set(req.url.raw_host or "")
        try:
            return await super().connect(req, traces, timeout)
        except aiohttp.ClientConnectorError as exc:
            if isinstance(exc.os_error, _RefusedError):
                raise ForbiddenUrl from exc
            raise
        finally:
            _destination.reset(token)

    async def close(self, *, abort_ssl: bool = False) -> None:
        await super().close(abort_ssl=abort_ssl)
        await self._guard.close()


@asynccontextmanager
async def open_session(
    policy: EgressPolicy, *, resolver: AbstractResolver | None = None, **options: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session for URLs that callers name; ``options`` are of ``aiohttp.TCPConnector``.

    A request raises ForbiddenUrl where the policy does not allow it. It takes no proxy or
    password from the environment, keeps no cookies from one caller to the next, and hands
    compressed answers on as they are. The number of connections has no limit here: a
    queue for them would run against each request's deadline. Limit the requests instead.

    With the policy's proxy, all requests go through that, and it resolves their names;
    ``resolver`` is not asked then.
    """
    connector: aiohttp.TCPConnector
    if policy.proxy is None:
        connector = _GuardedConnector(
            policy, resolver=resolver or aiohttp.DefaultResolver(), limit=0, **options
        )
    else:
        connector = _CheckedConnector(policy, limit=0, **options)
    async with aiohttp.ClientSession(
        connector=connector,
        proxy=URL(policy.proxy().get_secret_value()).with_user(None) if policy.proxy else None,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
    ) as session:
        yield session
