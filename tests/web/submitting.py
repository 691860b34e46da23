"""Requests for jobs with any headers, and the stories of jobs as they are streamed."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from imgsvc.jobs.models import EventType
from standins.service import Caller
from web.refusals import PATHS


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer with its whole body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One server-sent event."""

    id: int
    type: str
    data: dict[str, Any]


async def submit(
    caller: Caller, body: Any, path: str = PATHS[0], headers: Any = None, **more: Any
) -> Answer:
    """POST JSON with these headers alone: no callbackUrl unless it is among them."""
    async with caller.session.post(
        caller.server.url + path, json=body, headers=headers, **more
    ) as answer:
        return Answer(
            status=answer.status,
            headers=answer.headers,
            body=await answer.json(content_type=None),
        )


async def accepted(caller: Caller, body: Any, path: str = PATHS[0], **headers: str) -> str:
    """Submit a job that nobody is called for, and return its id."""
    answer = await submit(caller, body, path, {"Prefer": "respond-async"} | headers)
    assert answer.status == 202, answer.body
    return str(answer.body["job_id"])


async def read_events(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Yield the events of a stream as they come in, by the rules of WHATWG HTML."""
    fields: dict[str, str] = {}
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield Event(id=int(fields["id"]), type=fields["event"], data=json.loads(fields["data"]))
            fields = {}


async def story(caller: Caller, job_id: str, last: int | None = None) -> list[Event]:
    """Return all that the stream tells before it ends by itself."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    url = f"{caller.server.url}/jobs/{job_id}/events"
    async with caller.session.get(url, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        return [event async for event in read_events(answer)]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def stream(
    caller: Caller, job_id: str, last: object = None
) -> "aiohttp.client._RequestContextManager":
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    return caller.session.get(f"{caller.server.url}/jobs/{job_id}/events", headers=headers)


def tell(caller: Caller, job_id: str, **data: object) -> None:
    """Add an event to the story of a job."""
    caller.server.service.backend.record_event(job_id, EventType.ITEM_DONE, data)
