"""What happens to a job, as server-sent events (WHATWG HTML, section 9.2).

Events are rows of the record, and readers pull them from there: nothing is kept for a
reader but its place in the story. Written by hand, because what a package would do is a
few lines here, and what matters it does not do: drop a reader who does not read.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import orjson
import structlog
from aiohttp import web
from multidict import CIMultiDictProxy

from imgsvc.errors import (
    CredentialsInvalid,
    DiskRefuses,
    InvalidEventId,
    JobNotFound,
    ShuttingDown,
    TokenKeysUnavailable,
)
from imgsvc.jobs.models import JobEvent
from imgsvc.web.auth.principal import PRINCIPAL
from imgsvc.web.jobs import visible_job
from imgsvc.web.keys import CONTEXT

log = structlog.get_logger(__name__)

HEARTBEAT = 15.0
"""Seconds of silence after which a comment shows that the connection still works."""

WRITE_TIMEOUT = 10.0
"""Seconds that the reader may keep a write waiting."""

RETRY = 2000
"""Milliseconds after which a reader who has lost the connection comes again."""

LOOKS = 500
"""Looks a second at the record that all readers of one client have together: with many of them
each waits a little, and is told then of all that has happened. One alone waits 2 ms."""

PAGE = 100
"""Events that are read and written at once."""

HEADER = "Last-Event-ID"
_NUMBER = re.compile(r"[0-9]{1,18}")  # fits 64 bits

Send = Callable[[bytes], Awaitable[None]]

_NO_MORE = (CredentialsInvalid, TokenKeysUnavailable)
"""What ends a stream whose reader's key or token has ended since it began."""


async def job_events(request: web.Request) -> web.StreamResponse:
    """Tell a job's story from where the reader left it, until there is no more to tell.

    Raises JobNotFound or InvalidEventId. To one who has read it all the answer is 204,
    which keeps an `EventSource` from coming again.
    """
    context = request.app[CONTEXT]
    last = last_event_id(request.headers)
    job = await visible_job(request)
    job_id = job.id
    # The event that was read last, if it is still there, and the one behind it.
    known = await context.backend.events(job_id, after=last - 1, limit=2)
    if job.is_settled and [event.number for event in known] == [last]:
        return web.Response(status=204)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would hold the events back
        }
    )
    await response.prepare(request)
    greeting = b"retry: %d\n\n" % RETRY
    if last and not known:  # a number that this job has not reached: it is another's story
        greeting += _gap(1, last, place=0)
        last = 0
    client = request[PRINCIPAL].client
    context.readers[client] += 1
    try:
        await _send(response, greeting)
        await _tell(request, job_id, last, lambda data: _send(response, data))
    except TimeoutError:
        log.info("slow_reader_dropped", job_id=job_id)
        if request.transport is not None:
            request.transport.abort()
    except (ConnectionError, ShuttingDown, DiskRefuses, JobNotFound, *_NO_MORE):
        pass  # the answer has begun, so all it can do is end; the reader comes again
    finally:
        context.readers[client] -= 1
        if not context.readers[client]:
            del context.readers[client]
    return response


def last_event_id(headers: CIMultiDictProxy[str]) -> int:
    """Return the number of the event that was read last, 0 for none; raise InvalidEventId."""
    values = headers.getall(HEADER, [])
    if values in ([], [""]):
        return 0
    if len(values) > 1 or _NUMBER.fullmatch(values[0]) is None:
        raise InvalidEventId
    return int(values[0])


async def _tell(request: web.Request, job_id: str, last: int, send: Send) -> None:
    """Send all events behind the one with the number `last`, until the job is settled.

    Raises ShuttingDown when the server drains, and what `Guard.check_again` raises, which is
    asked every HEARTBEAT seconds.
    """
    context, client = request.app[CONTEXT], request[PRINCIPAL].client
    asked = monotonic()
    with context.backend.watch(job_id) as happened:
        while True:
            happened.clear()
            if monotonic() - asked >= HEARTBEAT:
                await context.guard.check_again(request)
                asked = monotonic()
            # First the job, then its events: those of a settled one are all there.
            job = await context.backend.get(job_id)
            while page := await context.backend.events(job_id, after=last, limit=PAGE):
                await send(_encode(page, last))
                last = page[-1].number
            if job.is_settled:
                return
            pause = asyncio.sleep(context.readers[client] / LOOKS)
            await context.readiness.unless_draining(pause)
            if not await _within(HEARTBEAT, context.readiness.unless_draining(happened.wait())):
                await send(b": still there\n\n")


async def _within(seconds: float, happening: Awaitable[bool]) -> bool:
    """Return whether it happened within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await happening
    except TimeoutError:
        return False


async def _send(response: web.StreamResponse, data: bytes) -> None:
    """Write, or raise TimeoutError if the reader does not take it."""
    async with asyncio.timeout(WRITE_TIMEOUT):
        await response.write(data)


def _encode(page: Sequence[JobEvent], last: int) -> bytes:
    """Return events as they are sent, with a gap before each whose predecessor is missing."""
    lines = []
    for event in page:
        if event.number > last + 1:
            lines.append(_gap(last + 1, event.number - 1, place=event.number - 1))
        data = orjson.dumps({"at": event.at} | dict(event.data), option=orjson.OPT_UTC_Z)
        lines.append(_event(event.number, event.type, data))
        last = event.number
    return b"".join(lines)


def _gap(first: int, last: int, *, place: int) -> bytes:
    """Return the event that says which numbers are missing; the reader is then at `place`."""
    return _event(place, "gap", orjson.dumps({"from": first, "to": last}))


def _event(number: int, kind: str, data: bytes) -> bytes:
    # JSON has no line breaks, so that `data` is one line.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), data)
