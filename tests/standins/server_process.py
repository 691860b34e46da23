"""The real program in a process of its own, as an operator runs it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from standins.record import Record, read_record


@dataclass(kw_only=True, slots=True)
class ServerProcess:
    """A running `python -m imgsvc`, and all that it has printed."""

    process: asyncio.subprocess.Process
    url: str = ""
    output: list[str] = field(default_factory=list)
    _log: asyncio.Queue[dict[str, Any] | None] = field(default_factory=asyncio.Queue)

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for the next log line of this name and return it."""
        while (line := await self._log.get()) is not None:
            if line["event"] == name:
                return line
        raise AssertionError(f"the server ended without a line {name}:\n{''.join(self.output)}")

    async def requests_under_way(self, data_dir: Path) -> None:
        """Wait until the server has begun to receive a body."""
        scratch = data_dir / "spool" / "scratch"
        while not list(scratch.glob("*/body.json")):  # noqa: ASYNC110 - a folder has no event
            await asyncio.sleep(0.01)

    async def read(self) -> None:
        """Take in the output until it ends; every line on stdout must be JSON."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.output.append(line.decode())
            await self._log.put(orjson.loads(line))
        await self._log.put(None)

    async def errors(self) -> None:
        """Take in what goes to stderr."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.output.append(line.decode())


@asynccontextmanager
async def server_process(
    data_dir: Path,
    *,
    started: bool = True,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "imgsvc"),
) -> AsyncIterator[ServerProcess]:
    """Start the server on a free port with these variables; kill it in the end.

    `program` is what Python runs.
    """
    defaults = {
        "IMGSVC_DATA_DIR": str(data_dir),
        "IMGSVC_SERVER__PORT": "0",
        "IMGSVC_IMAGES__PROCESSES": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-X", "dev", "-W", "error", *program),
        env={**os.environ, **defaults, **(environment or {})},
        cwd=data_dir.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    server = ServerProcess(process=process)
    readers = asyncio.gather(server.read(), server.errors())
    try:
        if started:
            server.url = (await server.event("service_started"))["listening"]
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await readers


async def settle(data_dir: Path, environment: Mapping[str, str]) -> Record:
    """Run the server until all that a dead one has left is done; return what it leaves."""
    left = read_record(data_dir).unsettled
    async with server_process(data_dir, environment=environment) as server:
        while left:
            left.discard((await server.event("callback_delivered"))["job_id"])
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
    return read_record(data_dir)
