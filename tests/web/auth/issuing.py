"""An issuer of tokens, with its keys."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://issuer.example.com/"
AUDIENCE = "imgsvc"


@dataclass
class Issuer:
    """Signs tokens with a key of its own."""

    kid: str = "first"
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )

    def public(self, **changes: Any) -> dict[str, Any]:
        algorithm = jwt.algorithms.RSAAlgorithm
        entry = algorithm.to_jwk(self.key.public_key(), as_dict=True)
        return entry | {"kid": self.kid, "alg": "RS256", "use": "sig"} | changes

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ann",
            "scope": "read",
            "iat": now,
            "exp": now + 300,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        headers = {"kid": self.kid} | (header or {})
        return jwt.encode(self.claims(**changes), self.key, algorithm="RS256", headers=headers)


@dataclass
class KeyServer:
    """Shows keys at a URL."""

    url: str = ""
    body: bytes = b""
    status: int = 200
    asked: int = 0

    def show(self, *keys: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": keys}).encode()

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=self.body, status=self.status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def key_server() -> AsyncIterator[KeyServer]:
    keys = KeyServer()
    app = web.Application()
    app.router.add_get("/jwks.json", keys.answer)
    async with TestServer(app) as server:
        keys.url = str(server.make_url("/jwks.json"))
        yield keys
