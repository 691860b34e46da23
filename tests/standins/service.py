"""A whole service on a real socket, and a caller of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from imgsvc.config import Settings
from imgsvc.jobs.models import Job
from imgsvc.serve import Server, listening
from standins.receiver import Receiver, callback_receiver

TO_LOOPBACK = ["127.0.0.0/8", "::1/128"]
"""`callbacks.allow_networks`, where the receivers of these tests are."""


def service_settings(data_dir: Path, **rooms: Any) -> dict[str, Any]:
    """Return settings for a free port, one image process, and quick deliveries.

    With authentication loopback has to be opened for the receivers.
    """
    if "auth" in rooms:
        rooms["callbacks"] = {"allow_networks": TO_LOOPBACK} | rooms.get("callbacks", {})
    server = {"port": 0, "drain_timeout": 10} | rooms.pop("server", {})
    images = {"processes": 1} | rooms.pop("images", {})
    return {"data_dir": data_dir, "server": server, "images": images, **rooms}


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncIterator["Caller"]:
    """Run a whole service on a real socket, and yield a client of it."""
    async with (
        listening(settings) as server,
        callback_receiver() as receiver,
        aiohttp.ClientSession(trust_env=False) as session,
    ):
        yield Caller(server, receiver, session, settings.data_dir / "files")


class Caller:
    """A client of the service, with a receiver for its callbacks."""

    def __init__(
        self, server: Server, receiver: Receiver, session: aiohttp.ClientSession, files: Path
    ) -> None:
        self.server = server
        self.receiver = receiver
        self.session = session
        self.files = files  # the filesystem storage's folder of buckets

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """POST JSON with the receiver as callbackUrl; return status and answer."""
        headers = {"callbackUrl": self.receiver.url} | headers
        async with self.session.post(self.server.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.server.url + path) as answer:
            return answer.status, await answer.json(content_type=None)

    async def submit(self, path: str, body: Any, **headers: str) -> str:
        """POST, expect 202, and return the job's id."""
        status, accepted = await self.post(path, body, **headers)
        assert status == 202, accepted
        return str(accepted["job_id"])

    async def until(self, job_id: str, happened: Callable[[Job], bool]) -> Job:
        """Wait for the job to be so, and return it."""
        backend = self.server.service.backend
        with backend.watch(job_id) as moved:
            while not happened(job := await backend.get(job_id)):
                await moved.wait()
                moved.clear()
        return job

    async def quiet(self) -> None:
        """Wait until nothing is left of what was submitted, and forget what came of it."""
        backend = self.server.service.backend
        while (stats := backend.stats()).queued or stats.running or stats.callbacks_pending:  # noqa: ASYNC110 - there is no event for all jobs together
            await asyncio.sleep(0.01)
        self.receiver.forget()

    async def run(self, path: str, body: Any, **headers: str) -> Any:
        """POST, expect 202, and return the body of the one callback that follows."""
        job_id = await self.submit(path, body, **headers)
        while (callback := (await self.receiver.next()).json)["job_id"] != job_id:
            pass  # an earlier job
        return callback
