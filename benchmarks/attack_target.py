"""What `attacks.py` attacks: a server, its callers, and a canary that nobody may reach."""

import asyncio
import base64
import itertools
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from imgsvc.web.auth.roles import Role
from programs import RunningServer, started_server
from standins.pictures import as_base64, picture
from strange_names import INSIDE, OUTSIDE
from web.auth.issuing import AUDIENCE, ISSUER, Issuer

UNKNOWN_JOB = "00000000-0000-4000-8000-000000000000"
IMAGE = as_base64(picture())
ASYNC, WAIT = {"Prefer": "respond-async"}, {"Prefer": "wait=30"}
PER_MINUTE = 20
"""Requests that the client `hasty` may make."""

CANARY = "whsec_" + base64.b64encode(b"canary-of-the-signing-secret").decode()
"""A secret of the server's."""

CLIENTS = {
    "hasty": {"requests_per_minute": PER_MINUTE},
    "held": {
        "max_priority": 3,
        "buckets": ["output/held/"],
        "callback_hosts": ["hooks.example"],
        "signing_secrets": [CANARY],
    },
}
NAMES = str(Path(__file__).with_name("strange_names.py"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server has said."""

    status: int
    code: str  # of the problem, or ""
    body: Any
    told: bytes  # all of it, with the head


@dataclass(kw_only=True, slots=True)
class Canary:
    """Counts who connects to it; it listens where the server must not call."""

    port: int
    connections: int = 0

    def count(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count a connection, and close it."""
        self.connections += 1
        writer.close()


@dataclass(kw_only=True, slots=True)
class Target:
    """A server as its attackers see it, and what they have of it."""

    server: RunningServer
    issuer: Issuer
    canary: Canary
    keys: Mapping[str, str]  # by what is the matter with each
    data_dir: Path
    _addresses: "itertools.count[int]" = field(default_factory=lambda: itertools.count(2))

    def address(self) -> str:
        """Return an address of this machine that the server has not seen yet.

        Wrong keys count by address: what is to be looked at needs a new one.
        """
        return f"127.1.0.{next(self._addresses)}"

    def token(self, client: str, roles: Iterable[str]) -> dict[str, str]:
        """Return the header of a caller with these roles."""
        token = self.issuer.token(sub=client, scope=" ".join(roles))
        return {"Authorization": f"Bearer {token}"}

    async def ask(
        self, method: str, path: str, headers: Any = None, *, source: str = INSIDE, data: Any = None
    ) -> Answer:
        """Send a request from an address, and read the answer, but no stream of events."""
        connector = aiohttp.TCPConnector(local_addr=(source, 0))
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=False) as session,
            session.request(
                method, self.server.url + path, headers=headers, data=data, allow_redirects=False
            ) as answer,
        ):
            kind = answer.content_type
            body = await answer.json(content_type=None) if "json" in kind else None
            code = body.get("code", "") if isinstance(body, dict) else ""
            told = f"{answer.raw_headers}".encode() + await answer.read()
            return Answer(answer.status, str(code), body, told)

    async def operations(self) -> list[tuple[str, str, bool]]:
        """Return method, path and whether it is public of all that the server says it has."""
        document = (await self.ask("GET", "/openapi.json?full=1")).body
        return [
            (method.upper(), path, operation.get("security") == [])
            for path, item in document["paths"].items()
            for method, operation in item.items()
        ]

    async def submit(
        self, headers: Mapping[str, str], path: str = "/process-image-async-b64", **fields: Any
    ) -> Answer:
        """Ask for an edit of one image, or of a batch."""
        given = {"Content-Type": "application/json"} | dict(headers)
        data = json.dumps({"prompt": "invert", **fields}).encode()
        return await self.ask("POST", path, given, data=data)


def filled(path: str, job_id: str = UNKNOWN_JOB) -> str:
    """Return a path with something in each of its places."""
    return re.sub(r"\{\w+\}", "x", path.replace("{job_id}", job_id))


def inputs(test: Any, name: str) -> list[Any]:
    """Return what a test is parametrized with under this name."""
    for mark in test.pytestmark:
        if mark.name == "parametrize":
            names, values, *_ = mark.args
            if names == name:
                return list(values)
            if name in names and not isinstance(names, str):
                return [each[names.index(name)] for each in values]
    raise LookupError(f"{test.__name__} has no parameter {name}")


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator[Target]:
    """Run a server as one that is open to a network: authentication on, egress guarded."""
    issuer, data_dir, jwks = Issuer(), folder / "data", folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [issuer.public()]}))
    variables = {
        "IMGSVC_DATA_DIR": str(data_dir),
        # On all addresses, so that loopback is not open to callbacks; with a key only.
        "IMGSVC_SERVER__HOST": "0.0.0.0",  # noqa: S104 - this machine alone calls it, for minutes
        "IMGSVC_SERVER__PORT": "0",
        "IMGSVC_AUTH__MODE": "api_key,jwt",
        "IMGSVC_AUTH__JWT_ISSUER": ISSUER,
        "IMGSVC_AUTH__JWT_AUDIENCE": AUDIENCE,
        "IMGSVC_AUTH__JWT_JWKS_FILE": str(jwks),
        "IMGSVC_CALLBACKS__ALLOW_NETWORKS": json.dumps([f"{OUTSIDE}/32"]),
        "IMGSVC_CALLBACKS__SCHEDULE": "[0]",
        "IMGSVC_CALLBACKS__SIGNING_SECRETS": json.dumps([CANARY]),
        "IMGSVC_CLIENTS": json.dumps(CLIENTS),
    }
    keys = await _keys(variables)
    async with AsyncExitStack() as stack:
        canary = Canary(port=0)
        listener = await asyncio.start_server(canary.count, INSIDE, 0)
        stack.callback(listener.close)
        canary.port = listener.sockets[0].getsockname()[1]
        await stack.enter_async_context(_outside(canary.port))
        server = await stack.enter_async_context(started_server(variables, (NAMES, "serve")))
        url = server.url.replace("0.0.0.0", INSIDE)  # noqa: S104 - asked about, not bound to
        yield Target(
            server=RunningServer(url=url, process=server.process),
            issuer=issuer,
            canary=canary,
            keys=keys,
            data_dir=data_dir,
        )


async def _keys(variables: Mapping[str, str]) -> dict[str, str]:
    """Make API keys by the command line, before the server runs."""
    names = ("good", "expired", "revoked")
    keys = {}
    for name in names:
        span = ("--expires", "1s") if name == "expired" else ()
        arguments = ("keys", "create", "--client", "ann", "--roles", ",".join(Role), *span)
        keys[name] = await _line(arguments, variables)
    await _line(("keys", "revoke", keys["revoked"].split("_")[1]), variables)
    return keys


async def _line(arguments: Sequence[str], variables: Mapping[str, str]) -> str:
    """Run a command, and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imgsvc", *arguments),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, arguments
    return output.decode().strip()


@asynccontextmanager
async def _outside(port: int) -> AsyncIterator[None]:
    """Serve a picture where the server may call, and redirects from there to the canary."""

    async def answer(request: web.Request) -> web.Response:
        if (status := request.match_info["what"]).isdigit():
            inside = f"http://{INSIDE}:{port}/"
            return web.Response(status=int(status), headers={"Location": inside})
        return web.Response(body=picture(), content_type="image/png")

    app = web.Application()
    app.router.add_route("*", "/{what}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, OUTSIDE, port).start()
        yield
    finally:
        await runner.cleanup()
