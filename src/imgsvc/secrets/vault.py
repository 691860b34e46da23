"""HashiCorp Vault, and what speaks its protocol: a secret of the KV engine, version 2.

Source: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
"""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import aiohttp
import orjson

from imgsvc.errors import ConfigurationError
from imgsvc.secrets.base import TIMEOUT, setting_texts
from imgsvc.secrets.config import SecretsConfig
from imgsvc.secrets.fields import fits_header

_MAX_BYTES = 2**20  # of an answer


@dataclass(frozen=True, kw_only=True, slots=True)
class _Token:
    text: str = field(repr=False)
    given: str = field(repr=False)  # what it was had for: a configured token, or a secret id
    renew_at: float  # as monotonic() counts


class Vault:
    """One secret in Vault; made by open_vault."""

    name = "vault"

    def __init__(self, session: aiohttp.ClientSession, config: SecretsConfig) -> None:
        self._session = session
        self._config = config
        self._token: _Token | None = None

    async def read(self) -> Mapping[str, str]:
        """Return the entries of the secret that are settings; raise ConfigurationError."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return setting_texts(await self._entries())
        except (aiohttp.ClientError, TimeoutError, UnicodeError) as exc:  # of a name, the last
            raise self._problem("cannot be reached") from exc

    async def _entries(self) -> Mapping[str, Any]:
        config = self._config
        path = f"{config.vault_mount}/data/{config.secret}"
        status, answer = await self._ask("GET", path, token=await self._valid_token())
        if status == 403 and config.vault_role_id is not None:
            # The token was revoked, or its lease ended early: those of AppRole are made anew.
            self._token = None
            status, answer = await self._ask("GET", path, token=await self._valid_token())
        match status, answer:
            case 200, {"data": {"data": dict(entries)}}:
                return entries
            case 404, _:
                raise self._problem(f"has no secret {config.secret} below {config.vault_mount}")
            case 403, _:
                raise self._problem(f"does not let us read {path}")
        raise self._problem(f"answered with status {status} and no secret")

    async def _valid_token(self) -> str:
        """Return a token, which is renewed, or had anew, when half of its lease is over."""
        config = self._config
        given = config.vault_token or config.vault_secret_id
        secret = "" if given is None else given.get_secret_value()
        token = self._token
        if token is None or token.given != secret or monotonic() >= token.renew_at:
            if config.vault_role_id is not None:
                token = await self._log_in(config.vault_role_id, secret)
            else:
                token = await self._renew(secret)
            self._token = token
        return token.text

    async def _log_in(self, role_id: str, secret_id: str) -> _Token:
        path = f"auth/{self._config.vault_auth_mount}/login"
        status, answer = await self._ask(
            "POST", path, body={"role_id": role_id, "secret_id": secret_id}
        )
        match status, answer:
            case 200, {"auth": {"client_token": str(text), "lease_duration": int(seconds)}} if (
                fits_header(text)
            ):
                return _Token(text=text, given=secret_id, renew_at=_half_way(seconds))
        raise self._problem(f"refused the AppRole login (status {status})")

    async def _renew(self, given: str) -> _Token:
        """Renew a token; one that cannot be, a root token say, is used while it lasts."""
        status, answer = await self._ask("POST", "auth/token/renew-self", token=given, body={})
        renew_at = math.inf
        match status, answer:
            case 200, {"auth": {"lease_duration": int(seconds), "renewable": True}}:
                renew_at = _half_way(seconds)
            case ((429 | 500 | 502 | 503 | 504), _):  # that says nothing about the token
                renew_at = monotonic()
        return _Token(text=given, given=given, renew_at=renew_at)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return the status and the JSON of the answer; None for what is none."""
        headers = {"X-Vault-Request": "true"}  # without it, Vault's agents may refuse the call
        if token is not None:
            headers["X-Vault-Token"] = token
        if self._config.vault_namespace is not None:
            headers["X-Vault-Namespace"] = self._config.vault_namespace
        async with self._session.request(
            method,
            f"{self._config.endpoint}/v1/{path}",
            headers=headers,
            json=body,
            allow_redirects=False,
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise self._problem("answered with more than a secret")
            try:
                return response.status, orjson.loads(content)
            except orjson.JSONDecodeError:
                return response.status, None

    def _problem(self, what: str) -> ConfigurationError:
        return ConfigurationError([f"secrets: Vault at {self._config.endpoint} {what}"])


@asynccontextmanager
async def open_vault(config: SecretsConfig) -> AsyncIterator[Vault]:
    """Yield the secret in Vault; nothing is asked yet.

    Raises ConfigurationError if the certificate authority's file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except ssl.SSLError as exc:
        raise ConfigurationError([f"secrets.ca_file: {config.ca_file} is no PEM file"]) from exc
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    ) as session:
        yield Vault(session, config)


def _half_way(seconds: int) -> float:
    return monotonic() + seconds / 2 if seconds else math.inf  # 0: it never ends
