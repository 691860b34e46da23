import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from imgsvc.callbacks import CallbacksConfig, CallbackSender, Delivery, EgressPolicy, open_session

RESULT = {"status": "completed", "job_id": "42", "filename": "ä.png", "fallback": False}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session as the sender gets it while the service listens on loopback alone."""
    async with open_session(EgressPolicy(allow_loopback=True)) as opened:
        yield opened


@pytest.fixture
def sender(session: aiohttp.ClientSession) -> CallbackSender:
    return CallbackSender(session, CallbacksConfig(timeout=10))


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def delivery(tmp_path: Path) -> Callable[..., Delivery]:
    """Make deliveries of RESULT, or of other bytes, to a URL."""

    def make(url: str, *, body: bytes | None = None, **fields: Any) -> Delivery:
        path = tmp_path / "body.json"
        path.write_bytes(json.dumps(RESULT).encode() if body is None else body)
        return Delivery(url=url, webhook_id="msg_42", request_id="req-7", body=path, **fields)

    return make
