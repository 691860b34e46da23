"""Attacks by requests that are ambiguous, slow, too large, or hold what hurts."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from attack_target import ASYNC, Target, inputs
from imaging.corpus import CORPUS, TAKEN, expected
from imgsvc.web.auth.roles import Role
from standins.hostile_caller import Way, hostile_caller
from web import test_framing, test_strict_json
from web.raw_sockets import connection, until_closed

SLOW = 1000
"""Connections at once that do not say what they want."""


async def framing(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Send requests that two servers in a row could read in two ways, and one more inside."""
    post = test_framing.POST + test_framing.CHUNKED + b"\r\n"
    chunks = {name: post + body for name, body in test_framing.CHUNKS.items()}
    for name, request in (test_framing.LENGTHS | chunks | test_framing.HEADS).items():
        async with connection(target.server.url) as (reader, writer):
            writer.write(request + test_framing.SMUGGLED)
            answer = await until_closed(reader)
        # Some of a chunk come in when the caller is known already to have no key.
        refused = answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ", b"HTTP/1.1 401 "))
        yield name, refused and b"uptime_seconds" not in answer


async def slow_heads(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Open very many connections that send a byte a second, while others ask."""
    ready = asyncio.Semaphore(0)

    async def drip() -> bytes:
        async with connection(target.server.url) as (reader, writer):
            writer.write(b"POST /process-image-async HTTP/1.1\r\n")
            ready.release()
            closed = asyncio.create_task(until_closed(reader))
            while not closed.done():
                writer.write(b"x")
                await asyncio.wait({closed}, timeout=1)
            return closed.result()

    slow = [asyncio.create_task(drip()) for _ in range(SLOW)]
    for _ in slow:
        await ready.acquire()
    for _ in range(20):
        assert (await target.ask("GET", "/health/live")).status == 200, "good ones are harmed"
    for answer in await asyncio.gather(*slow):
        yield "head without an end", b" 408 " in answer[:20]


async def json_bombs(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Send JSON that costs more than it says, or that two readers take for different things."""
    test = test_strict_json.test_what_is_not_beyond_doubt_is_refused
    headers = target.token("bob", [Role.SUBMIT]) | ASYNC | {"Content-Type": "application/json"}
    for name, body in inputs(test, "body"):
        answer = await target.ask("POST", "/process-image-async", headers, data=body)
        yield name, answer.code == "invalid_json"


async def oversized_bodies(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Announce too much, send too much without saying so, or send it compressed."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 2**16

    plain = target.token("bob", [Role.SUBMIT]) | ASYNC | {"Content-Type": "application/json"}
    changes: Mapping[str, dict[str, str]] = {
        "a byte too many": {"Content-Length": str(40 * 2**20 + 1)},
        "a petabyte": {"Content-Length": str(10**15)},
        "gzip": {"Content-Encoding": "gzip", "Content-Length": "1000"},
        "two codings": {"Content-Encoding": "identity, br", "Content-Length": "1000"},
        "text": {"Content-Type": "text/plain", "Content-Length": "1000"},
    }
    for path in ("/process-image-async-b64", "/process-image-async", "/batch-process-images"):
        for name, change in changes.items():
            lines = {"Host": "x", **plain, **change}.items()
            head = "".join(f"{key}: {value}\r\n" for key, value in lines)
            async with connection(target.server.url) as (reader, writer):
                writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
                status = (await until_closed(reader))[9:12]
            yield f"{path}: {name}", status in {b"413", b"415"}
        answer = await target.ask("POST", path, plain, data=endless())
        yield f"{path}: without an end", answer.status == 413


async def hostile_images(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Send the files of the corpus that are no good picture."""
    headers = target.token("bob", [Role.SUBMIT, Role.READ])
    async with hostile_caller(target.server.url, target.data_dir, headers=headers) as caller:
        for name, file in CORPUS.items():
            if TAKEN not in file.answers:
                answer = await caller.send(file.make(), Way.BASE64)
                yield name, answer.code in expected(name, Way.BASE64)
