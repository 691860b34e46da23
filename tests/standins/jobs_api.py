"""A server that answers for jobs as imgsvc does, for the commands that talk to one.

async with jobs_api(jobs) as api:
    ...  # something asks api.url
    assert api.posts == ["/jobs/1/cancel"]
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PAGE = 3
"""Jobs on a page at most, whatever was asked for."""


def job(number: int, *, state: str = "completed", callback: str = "delivered") -> dict[str, Any]:
    """Return a job as a list shows it."""
    return {
        "job_id": f"job-{number}",
        "kind": "image_to_base64",
        "state": state,
        "accepted_at": f"2026-11-25T08:00:{number:02}Z",
        "attempts": 1,
        "callback": {"state": callback},
    }


@dataclass(kw_only=True, slots=True)
class JobsApi:
    """The running server: its jobs, the newest first, and what it was asked."""

    jobs: list[dict[str, Any]]
    url: str = ""
    queries: list[dict[str, str]] = field(default_factory=list)  # of lists
    posts: list[str] = field(default_factory=list)  # paths

    async def list(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.queries.append(query)
        if query.get("state") == "running":
            return _problem(503, "The server cannot write to its disk at the moment.")
        callback = query.get("callback")
        found = [one for one in self.jobs if callback in {None, one["callback"]["state"]}]
        start = int(query.get("cursor", "0"))
        end = start + min(PAGE, int(query["limit"]))
        page: dict[str, Any] = {"jobs": found[start:end]}
        if end < len(found):
            page["next_cursor"] = str(end)
        return web.json_response(page)

    async def show(self, request: web.Request) -> web.Response:
        found = self._find(request)
        return _not_found() if found is None else web.json_response(found)

    async def change(self, request: web.Request) -> web.Response:
        self.posts.append(request.raw_path)
        found, operation = self._find(request), request.match_info["operation"]
        if found is None:
            return _not_found()
        if operation == "retry":
            return web.json_response({"job_id": f"{found['job_id']}-again"}, status=202)
        if operation == "cancel" and found["state"] == "completed":
            return _problem(409, "The job has ended already, as completed.")
        if operation == "cancel" and found["state"] == "queued":
            found = found | {"state": "cancelled"}
        return web.json_response(found, status=202)

    def _find(self, request: web.Request) -> dict[str, Any] | None:
        wanted = request.match_info["job_id"]
        return next((one for one in self.jobs if one["job_id"] == wanted), None)


@asynccontextmanager
async def jobs_api(jobs: Sequence[dict[str, Any]]) -> AsyncIterator[JobsApi]:
    """Run the server on a free loopback port."""
    api = JobsApi(jobs=list(jobs))
    app = web.Application()
    app.router.add_get("/jobs", api.list)
    app.router.add_get("/jobs/{job_id}", api.show)
    app.router.add_post("/jobs/{job_id}/{operation:cancel|retry|callback/redeliver}", api.change)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield api
    finally:
        await runner.cleanup()


def _not_found() -> web.Response:
    return _problem(404, "There is no job with this id.")


def _problem(status: int, detail: str) -> web.Response:
    return web.json_response(
        {"status": status, "detail": detail}, status=status, content_type="application/problem+json"
    )
