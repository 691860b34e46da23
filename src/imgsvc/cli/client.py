"""Talking to a running server, with its refusals in plain words."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from imgsvc.config.names import API_KEY_VARIABLE
from imgsvc.errors import ConfigurationError, ImgsvcError

TIMEOUT = 30.0
"""Seconds that one answer may take in all."""

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not listened on: looked up


class RequestFailed(ImgsvcError):
    """The server could not be asked, or did not do it."""


class Refused(RequestFailed):
    """The server answered with a problem document, whose `detail` this is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """Sends requests to one server; every failure is a RequestFailed."""

    server: str  # its URL, without a slash at its end
    session: aiohttp.ClientSession

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object that a GET answers with."""
        return await self._ask("GET", path, query or {})

    async def post(self, path: str) -> dict[str, Any]:
        """Return the JSON object that a POST without a body answers with."""
        return await self._ask("POST", path, {})

    async def _ask(self, method: str, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        try:
            async with self.session.request(
                method, self.server + path, params=query, allow_redirects=False
            ) as answer:
                document = _object(await answer.read())
                status = answer.status
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as exc:
            raise RequestFailed(f"{self.server} is not the URL of a server.") from exc
        except aiohttp.ClientConnectorError as exc:
            raise RequestFailed(
                f"No server answers at {self.server} ({exc.strerror}). Start it with"
                " `imgsvc serve`, or name another with --server."
            ) from exc
        except TimeoutError as exc:
            raise RequestFailed(f"{self.server} did not answer within {TIMEOUT:g} s.") from exc
        except aiohttp.ClientError as exc:
            raise RequestFailed(f"The connection to {self.server} was lost.") from exc
        if document is None:
            raise self.stranger(status)
        if status >= 300:
            detail = document.get("detail")
            raise Refused(detail) if isinstance(detail, str) else self.stranger(status)
        return document

    def stranger(self, status: int) -> RequestFailed:
        """Return the error for an answer that is none of imgsvc's."""
        return RequestFailed(
            f"What answers at {self.server} is no imgsvc of this version (status {status})."
        )


@asynccontextmanager
async def open_client(server: str, key: str | None = None) -> AsyncIterator[Client]:
    """Yield a client of the server at this URL, which proves itself with this key."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        yield Client(server=server.rstrip("/"), session=session)


def job_path(job_id: str) -> str:
    """Return the path of a job, whatever was typed as its id."""
    return f"/jobs/{quote(job_id, safe='')}"


def own_key(file: Path | None) -> str | None:
    """Return the key in this file, else that of the environment, else None.

    No option takes the key itself: it would stay in the shell's history, and everybody on
    the machine could read it in the list of processes. Raises ConfigurationError.
    """
    try:
        key = os.environ.get(API_KEY_VARIABLE, "") if file is None else file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError([f"--key-file: {file} cannot be read as a key"]) from exc
    key = key.strip()
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError([f"{file or API_KEY_VARIABLE} does not hold a key"])
    return key or None


def configured_server(config: Path | None) -> str:
    """Return the URL at which the server of this configuration is reached.

    Raises ConfigurationError if that cannot be told.
    """
    from imgsvc.config import load_settings  # noqa: PLC0415 - slow, and not needed with --server

    server = load_settings(config).server
    if server.public_url is not None:
        return server.public_url
    if server.port == 0:
        raise ConfigurationError(["server.port is 0: name the running server with --server"])
    host = _ANY_ADDRESS.get(server.host, server.host)
    scheme = "http" if server.tls_cert is None else "https"
    return (
        f"{scheme}://[{host}]:{server.port}" if ":" in host else f"{scheme}://{host}:{server.port}"
    )


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
