"""A local Vault: the KV engine, version 2, tokens that are renewed, and AppRole logins.

async with vault_standin() as vault:
vault.entries = {"openai__api_key": "sk-1"}
SecretsConfig(manager="vault", endpoint=vault.url, secret=vault.SECRET, vault_token=vault.ROOT)
"""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from aiohttp import web


class VaultStandin:
    """What it holds, who may read it, and what it was asked."""

    SECRET: ClassVar = "imgsvc/production"
    ROOT: ClassVar = "hvs.root-canary"
    ROLE_ID: ClassVar = "role-of-imgsvc"
    SECRET_ID: ClassVar = "secret-id-canary"

    def __init__(self) -> None:
        self.url = ""
        self.entries: dict[str, Any] = {}
        self.tokens = {self.ROOT}  # those that are good now
        self.renewable = False  # whether tokens can be renewed
        self.failing_renewal: int | None = None  # the status that renewing a token has
        self.namespace: str | None = None
        self.lease = 3600  # seconds
        self.asked: list[str] = []
        self.arrived = asyncio.Event()  # set by every request
        self.answering = asyncio.Event()  # cleared: requests wait
        self.answering.set()
        self.failing: web.Response | None = None  # the answer to everything from now on

    @property
    def environment(self) -> dict[str, str]:
        """The variables that have a server read from it with the root token."""
        return {
            "IMGSVC_SECRETS__MANAGER": "vault",
            "IMGSVC_SECRETS__ENDPOINT": self.url,
            "IMGSVC_SECRETS__SECRET": self.SECRET,
            "IMGSVC_SECRETS__VAULT_TOKEN": self.ROOT,
        }

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/v1/")
        asked = f"{request.method} {path}"
        self.asked.append(asked)
        self.arrived.set()
        await self.answering.wait()
        if self.failing is not None:
            # An answer can be sent once only.
            return web.Response(
                status=self.failing.status, body=self.failing.body, headers=self.failing.headers
            )
        if path == "auth/token/renew-self" and self.failing_renewal is not None:
            return web.json_response({"errors": []}, status=self.failing_renewal)
        if (request.method, path) == ("POST", "auth/approle/login"):
            return await self._log_in(request)
        if request.headers.get("X-Vault-Namespace") != self.namespace:
            return web.json_response({"errors": []}, status=404)
        if request.headers.get("X-Vault-Token") not in self.tokens:
            return web.json_response({"errors": ["permission denied"]}, status=403)
        answers: dict[str, dict[str, Any]] = {
            f"GET secret/data/{self.SECRET}": {
                "data": {"data": self.entries, "metadata": {"version": 1}}
            }
        }
        if self.renewable:
            lease = {"lease_duration": self.lease, "renewable": True}
            answers["POST auth/token/renew-self"] = {"auth": lease}
        answer = answers.get(asked)
        return web.json_response(answer or {"errors": []}, status=404 if answer is None else 200)

    async def _log_in(self, request: web.Request) -> web.Response:
        if await request.json() != {"role_id": self.ROLE_ID, "secret_id": self.SECRET_ID}:
            return web.json_response({"errors": ["invalid role or secret ID"]}, status=400)
        token = f"hvs.{secrets.token_hex(8)}"
        self.tokens.add(token)
        return web.json_response(
            {"auth": {"client_token": token, "lease_duration": self.lease, "renewable": True}}
        )


@asynccontextmanager
async def vault_standin(tls: ssl.SSLContext | None = None) -> AsyncIterator[VaultStandin]:
    """Run it on a free port."""
    vault = VaultStandin()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vault.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        vault.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        yield vault
    finally:
        await runner.cleanup()
