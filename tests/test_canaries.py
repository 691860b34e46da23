"""Canaries in every secret, prompt and picture: none comes out where it does not belong.

All that the service calls repeats what it is told, in errors of every kind.
"""

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL.PngImagePlugin import PngInfo

from standins.gossip import Gossip, forms, gossip
from standins.pictures import as_base64, encoded, gradient
from standins.processes import children_of
from standins.server_process import ServerProcess, server_process

TOOLS = ("/process-image-async-b64", "/process-image-async")
BATCH = "/batch-process-images"

WHSEC = "canary-of-the-signing-secret"
SECRETS = {
    "image API": "sk-canary-openai-6f1c",
    "second image API": "sk-canary-gateway-88d0",
    "web UI": "canary-webui-password",
    "storage": "canary-storage-secret",
    "proxy": "canary-proxy-password",
    "signing": WHSEC,
    "token in a URL": "canary-url-token",
    "link": "canary-link-signature",
    "token": "canary-jwt-claim",
}
TEXTS = {"prompt": "canary wish: make it blue", "picture": "canary inside the picture"}

FULL = "/openapi.json?full=1"


@dataclass(kw_only=True, slots=True)
class Heard:
    """Everything that has come out of the service, by where it was seen."""

    outputs: dict[str, bytes] = field(default_factory=dict)

    def add(self, place: str, data: bytes) -> None:
        self.outputs[f"{place} ({len(self.outputs)})"] = data

    def canaries(self, hidden: dict[str, str]) -> list[tuple[str, str]]:
        """Return which canary was seen where."""
        return [
            (name, place)
            for name, canary in hidden.items()
            for form in forms(canary)
            for place, data in self.outputs.items()
            if form in data
        ]


@dataclass(kw_only=True, slots=True)
class Caller:
    """Asks a server, and keeps each answer with its head."""

    server: ServerProcess
    session: aiohttp.ClientSession
    heard: Heard

    async def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        async with self.session.request(
            method, self.server.url + path, json=body, headers=headers
        ) as answer:
            data = await answer.read()
            self.heard.add(f"{method} {path}", f"{dict(answer.headers)}".encode() + data)
            is_json = answer.status < 300 and answer.content_type == "application/json"
            return answer.status, json.loads(data) if is_json else None


@asynccontextmanager
async def gossiping_service(folder: Path, server: Gossip) -> AsyncIterator[ServerProcess]:
    """Run a server that has a secret wherever it can have one."""
    secret = base64.b64encode(WHSEC.encode()).decode()
    proxy = server.url.replace("://", f"://user:{SECRETS['proxy']}@")
    providers = [
        {"name": "gateway", "base_url": f"{server.url}/v1", "models": ["m"]},
        {
            "kind": "automatic1111",
            "name": "gpu",
            "base_url": server.url,
            "username": "user",
            "models": ["m"],
        },
    ]
    variables = {
        "OPENAI_API_KEY": SECRETS["image API"],
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "IMGSVC_PROVIDERS": json.dumps(providers),
        "IMGSVC_PROVIDERS__GATEWAY__API_KEY": SECRETS["second image API"],
        "IMGSVC_PROVIDERS__GPU__PASSWORD": SECRETS["web UI"],
        "IMGSVC_ROUTING__RETRIES": "{}",
        "IMGSVC_PROMPTS__MODERATION": "true",
        "COS_ENDPOINT": server.url,
        "COS_BUCKET": "bucket",
        "COS_ACCESS_KEY_ID": "canary-access-key",
        "COS_SECRET_ACCESS_KEY": SECRETS["storage"],
        "IMGSVC_STORAGE__RETRY_SECONDS": "0",
        "IMGSVC_EGRESS__PROXY": proxy,
        "IMGSVC_CALLBACKS__SIGNING_SECRETS": json.dumps([f"whsec_{secret}"]),
        "IMGSVC_CALLBACKS__SCHEDULE": "[0, 0]",
        "IMGSVC_AUTH__MODE": "api_key",
        "IMGSVC_LOGS__LEVEL": "debug",
    }
    async with server_process(folder / "data", environment=variables) as running:
        yield running


async def make_key(folder: Path, client: str, roles: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imgsvc", "keys", "create"),
        *("--client", client, "--roles", roles),
        env={**os.environ, "IMGSVC_DATA_DIR": str(folder / "data")},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return next(word for word in output.decode().split() if word.startswith("imgsvc_"))


def photo() -> str:
    text = PngInfo()
    text.add_text("Comment", TEXTS["picture"])
    return as_base64(encoded(gradient("RGB"), "PNG", pnginfo=text, comment=TEXTS["picture"]))


def orders(server: Gossip) -> list[tuple[str, dict[str, Any]]]:
    """Return requests for jobs that fail in every way, and some that are refused."""
    prompt, image, token = TEXTS["prompt"], photo(), SECRETS["token in a URL"]
    good = {"prompt": prompt, "image_base64": image}
    elsewhere = f"{server.url.replace('127.0.0.1', 'pictures.example')}/a.png?token={token}"
    return [
        *((path, good) for path in TOOLS),
        *((path, good | {"fallback": "never"}) for path in TOOLS),
        (TOOLS[0], {"prompt": prompt, "image_url": elsewhere}),
        (BATCH, {"prompt": prompt}),
        (TOOLS[0], {"prompt": [prompt], "image_base64": image}),
        (TOOLS[0], {"prompt": prompt, "image_base64": f"{image[:-9]}!!"}),
        (TOOLS[0], {"prompt": prompt, "image_base64": image[: len(image) // 8 * 4]}),
        (TOOLS[0], good | {"model": prompt, "size": prompt}),
        (TOOLS[0], good | {"quality": prompt}),
        (BATCH, {"prompt": prompt, "dry_run": True}),
        (BATCH, {"prompt": prompt, "concurrency": prompt}),
    ]


async def ask_everything(caller: Caller, jobs: list[str], key: str) -> None:
    """Ask every path of the document for what it shows of these jobs."""
    _, document = await caller.ask("GET", FULL)
    for path, operations in document["paths"].items():
        if path.endswith("/events"):
            continue  # asked for in its own form
        for job in jobs if "{job_id}" in path else jobs[:1]:
            target = path.replace("{job_id}", job).replace("{name}", "none")
            target = target.replace("{bucket}", "bucket").replace("{key}", "key")
            for method in {"get", "head", "options"} & {"options", *operations}:
                await caller.ask(method.upper(), target, **{"X-API-Key": key})
    for job in jobs:
        await caller.ask("GET", f"/jobs/{job}/events", **{"X-API-Key": key})
        for change in ("cancel", "retry", "callback/redeliver"):
            await caller.ask("POST", f"/jobs/{job}/{change}", **{"X-API-Key": key})


def arguments_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def is_for_admins(name: str, place: str) -> bool:
    """Tell whether it is the view of the configuration, which has the folders in it."""
    return name == "folder" and place.startswith("GET /config")


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_no_canary_comes_out_of_a_service_that_everybody_gossips_to(
    status: int, tmp_path: Path
) -> None:
    heard, jobs = Heard(), list[str]()
    hook = f"/hook?token={SECRETS['token in a URL']}"
    async with (
        gossip() as server,
        gossiping_service(tmp_path, server) as running,
        aiohttp.ClientSession() as session,
    ):
        server.status = status
        key = await make_key(tmp_path, "shop", "submit,read,operate,admin")
        caller = Caller(server=running, session=session, heard=heard)
        headers = {"X-API-Key": key}
        authority = server.url.removeprefix("http://127.0.0.1")
        for path, body in orders(server):
            for name in ("callbackUrl", "progressUrl"):
                wrong = f"http://user:{SECRETS['token in a URL']}@hooks.example/"
                assert (await caller.ask("POST", path, body, **headers, **{name: wrong}))[0] >= 400
            url = f"http://hooks.example{authority}{hook}"
            code, answer = await caller.ask("POST", path, body, **headers, callbackUrl=url)
            if code == 202:
                jobs.append(answer["job_id"])
                heard.add("callback", await server.callbacks.get())
        assert len(jobs) >= 6
        for wrong in (key[:-9], SECRETS["token"], f"imgsvc_{SECRETS['token']}"):
            assert (await caller.ask("GET", "/jobs", **{"X-API-Key": wrong}))[0] == 401
        await caller.ask("GET", f"/files/bucket/key?signature={SECRETS['link']}")
        await ask_everything(caller, jobs, key)
        processes = [running.process.pid, *children_of(running.process.pid)]
        arguments = Heard()
        for pid in processes:
            arguments.add("arguments", arguments_of(pid))
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0
    output = "".join(running.output)
    heard.add("log", output.encode())
    told = Heard(outputs={"gossip": "".join(server.heard).encode()})
    used = {name for name, _ in told.canaries(SECRETS | TEXTS)}
    assert used >= {"image API", "proxy", "token in a URL", "prompt"}
    assert [text for text in ("Traceback", "iVBOR", "canary-access-key") if text in output] == []
    hidden = SECRETS | TEXTS | {"key": key, "folder": str(tmp_path)}
    seen = [each for each in heard.canaries(hidden) if not is_for_admins(*each)]
    assert seen == []
    assert arguments.canaries(SECRETS | TEXTS | {"key": key}) == []
    kept = Heard()
    for file in (tmp_path / "data").glob("jobs.db*"):
        kept.add(file.name, file.read_bytes())
    # The record has what a job still needs: its prompt, and where its result goes.
    needed = {"token in a URL"}
    secrets = {name: value for name, value in SECRETS.items() if name not in needed}
    assert kept.canaries(secrets | {"key": key, "picture": TEXTS["picture"]}) == []
