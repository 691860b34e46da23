"""`imgsvc demo`: a real server, a real callback receiver, the three tools, one photo."""

import asyncio
import base64
import shutil
import signal
import tempfile
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import orjson

from imgsvc.cli.demo_parts import (
    MODEL,
    QUALITY,
    DemoFailed,
    Receiver,
    Server,
    callback_receiver,
    demo_server,
)

PROMPT = "Make the sky glow like a sunset"
JOB_TIMEOUT = 300.0  # seconds
PHOTO = "landscape.jpg"
IMAGES = 5
"""Edits in one demo: one for each single tool, three in the batch."""

USD_PER_IMAGE = 0.06
"""Roughly one edit with MODEL at QUALITY: 1,500 image tokens in and 1,600 out, at 8 and 30 USD a
million (OpenAI's price list, November 2026)."""


async def demo(output: Path, *, keep: bool, agreed: bool) -> int:
    """Run the three tools end to end; return 0.

    Pictures are written to `output`. With `keep`, the server is left running. With an
    image API configured, nothing is edited unless the caller has `agreed` to its cost.
    Raises DemoFailed, with what went wrong, if anything did.
    """
    started = monotonic()
    task = asyncio.current_task()
    if task is not None:  # SIGTERM shall end the server too, as Ctrl-C does
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    photo = files("imgsvc.cli").joinpath(PHOTO).read_bytes()
    data_dir = Path(tempfile.mkdtemp(prefix="imgsvc-demo-"))
    try:
        async with callback_receiver() as receiver, demo_server(data_dir, keep=keep) as server:
            _announce(server, receiver, agreed=agreed)
            try:
                output.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise DemoFailed(f"The folder {output} cannot be made: {exc.strerror}.") from exc
            await _run_tools(server, receiver, photo, output, data_dir)
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            shutil.rmtree(data_dir, ignore_errors=True)
    _say(f"\nAll three tools worked, in {monotonic() - started:.1f} s.")
    if keep:
        _say(f"The server goes on at {server.url} (pid {server.pid}); end it: kill {server.pid}")
        _say(f"Its data and its log are in {data_dir}")
    return 0


def _announce(server: Server, receiver: Receiver, *, agreed: bool) -> None:
    """Say who will edit and what it costs; raise DemoFailed if the caller has to agree first."""
    _say(f"Server:    {server.url}")
    _say(f"Receiver:  {receiver.url}")
    if server.provider == "local":
        _say("Provider:  local demo engine (no OPENAI_API_KEY is set; nothing leaves this machine)")
        return
    cost = IMAGES * USD_PER_IMAGE
    _say(f"Provider:  {server.provider}; {IMAGES} edits with {MODEL} at quality {QUALITY}")
    _say(f"Cost:      roughly {cost:.2f} USD")
    if not agreed:
        raise DemoFailed(
            "To agree, run `imgsvc demo --yes` or `make demo ARGS=--yes`;"
            " without OPENAI_API_KEY it costs nothing."
        )


async def _run_tools(
    server: Server, receiver: Receiver, photo: bytes, output: Path, data_dir: Path
) -> None:
    before = output / "before.jpg"
    before.write_bytes(photo)
    inputs = data_dir / "files" / "input" / "input"
    for name in ("lake.jpg", "trip/mountains.jpg", "trip/day 2.jpg", "notes.txt"):
        target = inputs / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(photo if name.endswith("jpg") else b"not an image\n")
    image = {"image_base64": base64.b64encode(photo).decode(), "filename": PHOTO}
    async with aiohttp.ClientSession(trust_env=False) as session:
        client = _Client(session, server, receiver)

        inline = await client.call("/process-image-async-b64", {"prompt": PROMPT, **image})
        extension = inline["result_mime_type"].removeprefix("image/")
        after = output / f"after.{extension}"
        after.write_bytes(base64.b64decode(inline["result_image_base64"]))

        linked = await client.call("/process-image-async", {"prompt": PROMPT, **image})
        async with session.get(linked["result_url"]) as answer:
            if answer.status != 200:
                raise DemoFailed(f"The link to the result answered with status {answer.status}.")
            from_link = output / f"after-from-link.{extension}"
            from_link.write_bytes(await answer.read())

        batch = await client.call("/batch-process-images", {"prompt": PROMPT})
        if batch["total_files_processed"] != IMAGES - 2:
            raise DemoFailed("The batch did not edit all of its images.")
    _say("\nPictures")
    for path in (before, after, from_link):
        _say(f"  {path.resolve()}")


class _Client:
    """Calls one tool after the other and shows what goes and comes."""

    def __init__(self, session: aiohttp.ClientSession, server: Server, receiver: Receiver) -> None:
        self._session = session
        self._server = server
        self._receiver = receiver
        self._number = 0

    async def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the callback's body; raise DemoFailed unless the job worked."""
        self._number += 1
        _say(f"\n{self._number}. POST {path}")
        _say(f"   callbackUrl: {self._receiver.url}")
        _show(body)
        started = monotonic()
        request = self._session.post(
            self._server.url + path, json=body, headers={"callbackUrl": self._receiver.url}
        )
        async with request as answer:
            accepted = await answer.json(content_type=None)
            _say(f"   → {answer.status} after {1000 * (monotonic() - started):.0f} ms")
            _show(accepted)
            if answer.status != 202:
                raise DemoFailed(f"{path} answered with status {answer.status}.")
        try:
            async with asyncio.timeout(JOB_TIMEOUT):
                callback = await self._receiver.next()
        except TimeoutError as exc:
            raise DemoFailed(f"No callback came within {JOB_TIMEOUT:.0f} s.") from exc
        _say(f"   ← callback after {monotonic() - started:.2f} s")
        _show(callback)
        if callback["job_id"] != accepted["job_id"]:
            raise DemoFailed("The callback belongs to another job.")
        if self._server.provider != "local" and callback["fallback"]:
            raise DemoFailed(
                f"{self._server.provider} could not edit: {callback['fallback_reason']}."
                " `imgsvc check --connect` tells more."
            )
        if callback["status"] not in {"completed", "completed_with_errors"}:
            raise DemoFailed(f"The job ended as {callback['status']}.")
        return callback


def _show(document: dict[str, Any]) -> None:
    """Print a JSON document in readable form, with long values cut."""
    short = {
        name: f"{value[:40]}… ({len(value):,} characters)"
        if isinstance(value, str) and len(value) > 200
        else value
        for name, value in document.items()
    }
    for line in orjson.dumps(short, option=orjson.OPT_INDENT_2).decode().splitlines():
        _say(f"     {line}")


def _say(line: str) -> None:
    print(line, flush=True)
