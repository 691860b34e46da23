"""Talking to a running server, with its refusals in plain words."""

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from imgsvc.config.names import API_KEY_VARIABLE
from imgsvc.errors import ConfigurationError, CredentialsMissing, ImgsvcError

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
        except TimeoutError as exc:
            raise RequestFailed(f"{self.server} did not answer within {TIMEOUT:g} s.") from exc
        except aiohttp.ClientError as exc:
            raise RequestFailed(_explain(self.server, exc)) from exc
        if document is None:
            raise self.stranger(status)
        if document.get("code") == CredentialsMissing.code:
            raise Refused(
                f"{self.server} asks who calls: put a key into the variable {API_KEY_VARIABLE}, or"
                " name a file that holds one with --key-file. `imgsvc keys create` makes keys."
            )
        if status >= 300:
            detail = document.get("detail")
            raise Refused(detail) if isinstance(detail, str) else self.stranger(status)
        return document

    def stranger(self, status: int) -> RequestFailed:
        """Return the error for an answer that is none of imgsvc's."""
        return RequestFailed(
            f"What answers at {self.server} is no imgsvc of this version (status {status})."
        )


def _explain(server: str, error: aiohttp.ClientError) -> str:
    """Return why there is no answer, and what to do."""
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return f"{server} is not the URL of a server."
        case aiohttp.ServerFingerprintMismatch():
            return (
                f"What answers at {server} has another certificate than the file of"
                " server.tls_cert. Name the server with --server."
            )
        case aiohttp.ClientConnectorCertificateError(certificate_error=cause):
            return (
                f"The certificate of {server} is not trusted"
                f" ({getattr(cause, 'verify_message', cause)}). With --server name the server as"
                " its certificate does; if that is of an authority of your own, let the variable"
                " SSL_CERT_FILE name the authority's file."
            )
        case aiohttp.ClientSSLError():
            return (
                f"What answers at {server} does not speak TLS, or none that is safe. If it speaks"
                " plain HTTP, name it with http:// in --server."
            )
        case aiohttp.ClientConnectorError():
            return (
                f"No server answers at {server} ({error.strerror}). Start it with `imgsvc serve`,"
                " or name another with --server."
            )
    return f"The connection to {server} was lost."


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a server is reached."""

    url: str
    certificate: bytes | None = None  # SHA-256 of the one that it must have; None: a trusted one


@asynccontextmanager
async def open_client(address: Address, key: str | None = None) -> AsyncIterator[Client]:
    """Yield a client of the server at this address, which proves itself with this key."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    pin = address.certificate
    connector = aiohttp.TCPConnector(ssl=True if pin is None else aiohttp.Fingerprint(pin))
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers
    ) as session:
        yield Client(server=address.url.rstrip("/"), session=session)


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


def configured_server(config: Path | None) -> Address:
    """Return where the server of this configuration listens on this machine.

    With TLS it must have the certificate of the configuration, whatever name that is for. Raises
    ConfigurationError if the address cannot be told.
    """
    from imgsvc.config import load_settings  # noqa: PLC0415 - slow, and not needed with --server

    server = load_settings(config).server
    if server.port == 0:
        raise ConfigurationError(["server.port is 0: name the running server with --server"])
    host = _ANY_ADDRESS.get(server.host, server.host)
    authority = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
    if server.tls_cert is None:
        return Address(url=f"http://{authority}")
    return Address(url=f"https://{authority}", certificate=_sha256_of(server.tls_cert))


def _sha256_of(file: Path) -> bytes:
    """Return the digest of the first certificate in a file; raise ConfigurationError."""
    start, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        text = file.read_text("ascii", "replace")
        pem = text[text.index(start) : text.index(end) + len(end)]
        return sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
    except (OSError, ValueError) as exc:
        problem = f"server.tls_cert: {file} cannot be read; name the server with --server"
        raise ConfigurationError([problem]) from exc


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
