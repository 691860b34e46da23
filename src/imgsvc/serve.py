"""Runs the service on a socket, from its start to a stop that loses as little as possible."""

import asyncio
import ctypes
import os
import resource
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import structlog
from aiohttp import web

from imgsvc.app import Service, open_service
from imgsvc.config import Settings
from imgsvc.errors import ConfigurationError
from imgsvc.listener import BACKLOG, Listener, room_for_connections
from imgsvc.logs import audit_file
from imgsvc.reload import ReadAgain, read_when_asked
from imgsvc.tls import Certificate
from imgsvc.web.config import ServerConfig
from imgsvc.web.connection import Connection

log = structlog.get_logger(__name__)

SHUTDOWN_TIMEOUT = 2.0
"""Seconds that open connections get, twice, after the jobs are drained."""

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BLOCK = 2**20  # bytes

THREADS = 32
"""For files, base64 and name look-ups; more than Python's default for few CPUs, because most of
them wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """The service on its socket."""

    url: str  # how callers reach it, without a slash at its end
    listening: str  # the same, at the address that it listens on
    service: Service


@asynccontextmanager
async def listening(
    settings: Settings, *, hung_up: asyncio.Event | None = None
) -> AsyncIterator[Server]:
    """Yield the service once it answers requests; take none any more at the end.

    What can be is read again whenever `hung_up` is set, also if it was set before. Raises
    ConfigurationError if the server cannot start as configured.
    """
    settings.check_authentication()
    server = settings.server
    certificate = None
    if server.tls_cert is not None and server.tls_key is not None:
        certificate = Certificate(chain=server.tls_cert, key=server.tls_key)
    context = None if certificate is None else certificate.context
    with _listen(server) as sock:
        here = _url_of(sock, "http" if context is None else "https")
        url = server.public_url or here
        async with (
            open_service(settings, base_url=url, port=sock.getsockname()[1]) as service,
            _accepting(service.app, sock, server, context),
            _looked_after(
                sock,
                server,
                certificate,
                read_when_asked(hung_up or asyncio.Event(), _sources(service, certificate)),
            ),
        ):
            yield Server(url=url, listening=here, service=service)


@asynccontextmanager
async def _looked_after(
    listener: Listener,
    config: ServerConfig,
    certificate: Certificate | None,
    hangup: Coroutine[Any, Any, None],
) -> AsyncIterator[None]:
    """Look after connections, the certificate if there is one, and hangups; in the context."""
    async with asyncio.TaskGroup() as group:
        watch = listener.cut_off_readers(config.send_timeout)
        tasks = [
            group.create_task(watch, name="slow-readers"),
            group.create_task(hangup, name="hangup"),
        ]
        if certificate is not None:
            tasks.append(group.create_task(certificate.keep_fresh(), name="certificate"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _sources(service: Service, certificate: Certificate | None) -> dict[str, ReadAgain]:
    """Return all that is read again on SIGHUP."""
    sources = dict(service.sources)
    if certificate is not None:
        sources["certificate"] = certificate.renew
    if (file := audit_file()) is not None:
        sources["audit_file"] = file.reopen
    return sources


@asynccontextmanager
async def _accepting(
    app: web.Application,
    sock: socket.socket,
    config: ServerConfig,
    context: ssl.SSLContext | None,
) -> AsyncIterator[None]:
    """Take connections, and answer their requests, while the context lasts."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_TIMEOUT)
    loop = asyncio.get_running_loop()
    try:
        await runner.setup()
        connection = partial(
            Connection,
            cast("web.Server", runner.server),
            loop=loop,
            header_timeout=config.header_timeout,
        )
        acceptor = await loop.create_server(
            connection,
            sock=sock,
            backlog=BACKLOG,
            ssl=context,
            ssl_handshake_timeout=None if context is None else config.header_timeout,
        )
        try:
            yield
        finally:
            acceptor.close()
    finally:
        await runner.cleanup()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted.

    A second signal cuts the wait short. Raises ConfigurationError if the server cannot
    start as configured.
    """
    _raise_file_limit()
    _give_large_blocks_back()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="thread"))
    stop, hung_up = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    if (file := audit_file()) is not None:
        with suppress(ConfigurationError):  # it has said so, and lines go elsewhere until it works
            await file.reopen()
    async with listening(settings, hung_up=hung_up) as server:
        _announce(settings, server)
        await stop.wait()
        stop.clear()
        await drain(server.service, settings.server.drain_timeout, impatient=stop)
    log.info("service_stopped")


def _announce(settings: Settings, server: Server) -> None:
    storage, provider = settings.storage, server.service.provider
    log.info(
        "service_started",
        listening=server.listening,
        public_url=settings.server.public_url,
        provider=provider,
        storage=storage.kind,
        output_bucket=storage.output_bucket,
        workers=settings.workers.count,
        image_processes=settings.images.processes,
        audit_retention=settings.backend.audit_retention,
        secrets=server.service.rotation.sources,
    )
    if provider == "local":
        log.warning(
            "no_image_api",
            effect="the local engine edits",
            mend="set OPENAI_API_KEY, or add [[providers]]",
        )
    for name, model in settings.ending_models(datetime.now(UTC).date()):
        log.warning(
            "model_ends",
            provider=name,
            model=model.name,
            date=str(model.ends),
            mend="choose another model",
        )
    for name, model in settings.unpriced_models:
        log.warning(
            "price_unknown",
            provider=name,
            model=model.name,
            effect="there is a budget, so it is not called",
            mend="set `price` or `usd_per_image` of the model",
        )
    if not settings.server.is_loopback and not settings.auth.is_on:
        log.warning(
            "open_to_the_network",
            effect="anyone who can reach the port can use it",
            mend='set auth.mode = "api_key"',
        )
    if settings.shows_keys:
        log.warning(
            "keys_in_clear_text",
            effect="who listens in on the network can use them",
            mend="set server.tls_cert and server.tls_key, or server.public_url if a proxy speaks"
            " TLS",
        )
    if settings.server.links_lead_nowhere:
        log.warning(
            "public_url_not_set",
            effect=f"links and the OpenAPI document name {server.url}",
            mend="set server.public_url (IMGSVC_SERVER__PUBLIC_URL)",
        )


async def drain(service: Service, timeout: float, *, impatient: asyncio.Event) -> None:  # noqa: ASYNC109 - it gives up with a log line, not an error
    """Take no new jobs and finish those in work, within `timeout` seconds.

    It also ends when `impatient` is set. What is left then is logged, and goes on at the
    next start.
    """
    service.readiness.drain()
    log.info("draining", timeout=timeout, **_left(service))
    drained = asyncio.create_task(service.backend.drain(), name="drain")
    hurried = asyncio.create_task(impatient.wait(), name="second-signal")
    await asyncio.wait({drained, hurried}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if not drained.done():
        log.error("drain_incomplete", **_left(service))
    drained.cancel()
    hurried.cancel()


def _left(service: Service) -> dict[str, int]:
    stats = service.backend.stats()
    return {
        "queued": stats.queued,
        "running": stats.running,
        "callbacks_pending": stats.callbacks_pending,
    }


def _listen(config: ServerConfig) -> Listener:
    """Return a bound socket: the port is known before anything else starts."""
    host, port = config.host, config.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        bound = socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as exc:
        raise ConfigurationError(
            [f"server.host, server.port: cannot listen on {host}:{port} ({_reason(exc)})"]
        ) from exc
    limit = room_for_connections(config.max_connections)
    return Listener(bound, limit=limit)


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets us: the usual 1,024 is soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _give_large_blocks_back() -> None:
    """Have the memory of every large picture go back to the system as soon as it is freed.

    Once a block of 25 MB was freed, glibc would keep the next ones for later, in each thread.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc has it, musl does not
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _reason(exc: OSError) -> str:
    # Python's own text repeats the address; a failed look-up has a number of its own kind.
    return str(exc.strerror) if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)


def _url_of(sock: socket.socket, scheme: str) -> str:
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
