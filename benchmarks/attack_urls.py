"""Attacks by URLs that lead where the service must not call."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping

from attack_target import ASYNC, IMAGE, WAIT, Target, inputs
from callbacks import test_guard
from imgsvc.web.auth.roles import Role

NO_URL = {"invalid_url", "forbidden_url", "control_character", "invalid_json", "invalid_request"}


def _urls(target: Target) -> Iterator[str]:
    port = target.canary.port
    for raw in inputs(test_guard.test_anything_else_is_an_invalid_url, "raw"):
        yield re.sub(r"^(https?://[^/?#:@\\]+)/", rf"\1:{port}/", raw)
    test = test_guard.test_addresses_off_the_public_internet_are_forbidden
    for address in inputs(test, "address"):
        yield f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"
    own = test_guard.test_the_servers_own_port_is_refused_even_if_loopback_is_allowed
    own_port = target.server.url.rpartition(":")[2]
    yield from (url.replace("8000", own_port) for url in inputs(own, "url"))
    for host in ("localhost", "LOCALHOST.", "app.localhost", "127。0。0。1"):
        yield f"http://{host}:{port}/"
    yield from (f"http://outside-1.example:{port}/" for port in (22, 25, 1023))


async def egress_urls(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Name URLs that lead inside, in every field and header that takes one."""
    bob = target.token("bob", [Role.SUBMIT]) | ASYNC
    for url in _urls(target):
        answer = await target.submit(bob, image_url=url)
        yield f"image_url {url[:60]!r}", answer.code in NO_URL
        if not url.isascii() or not url.isprintable() or not url.strip():
            continue  # no header can have it
        answer = await target.submit(bob | {"callbackUrl": url}, image_base64=IMAGE)
        yield f"callbackUrl {url[:60]!r}", answer.code in NO_URL or url != url.strip()


async def redirects(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Name a URL outside that redirects inside."""
    bob = target.token("bob", [Role.SUBMIT, Role.READ]) | WAIT
    for status in (301, 302, 303, 307, 308):
        url = f"http://outside-{status}.example:{target.canary.port}/{status}"
        answer = (await target.submit(bob, image_url=url)).body
        yield f"image_url {status}", str(answer.get("error")).startswith("ForbiddenUrl")
        yield f"callbackUrl {status}", await _callback(target, bob, url) == "dead"


async def names_that_lead_inside(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Name hosts that have an address inside, alone or beside one that may be called."""
    bob = target.token("bob", [Role.SUBMIT, Role.READ]) | WAIT
    for number in range(50):
        for kind in ("inside", "mixed"):
            url = f"http://{kind}-{number}.example:{target.canary.port}/picture"
            answer = (await target.submit(bob, image_url=url)).body
            yield f"image_url {url}", str(answer.get("error")).startswith("ForbiddenUrl")
        yield f"callbackUrl {url}", await _callback(target, bob, url) == "dead"


async def rebinding(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Name hosts that are outside at the first look-up, and inside at each later one.

    The one look-up is what counts: the call goes to where it was checked, outside.
    """
    bob = target.token("bob", [Role.SUBMIT, Role.READ]) | WAIT
    for number in range(100):
        before = target.canary.connections
        url = f"http://turning-{number}.example:{target.canary.port}/picture"
        answer = (await target.submit(bob, image_url=url)).body
        held = target.canary.connections == before
        yield url, held and answer.get("status") == "completed"


async def _callback(target: Target, headers: Mapping[str, str], url: str) -> str:
    """Return what becomes of a callback to a URL."""
    accepted = await target.submit({**headers, **ASYNC, "callbackUrl": url}, image_base64=IMAGE)
    while True:
        path = f"/jobs/{accepted.body['job_id']}"
        state = (await target.ask("GET", path, headers)).body["callback"]["state"]
        if state in {"dead", "delivered"}:
            return str(state)
        await asyncio.sleep(0.05)
