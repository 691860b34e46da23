"""Requests that two servers in a row could read in two ways: refused before any handler.

aiohttp's parser refuses most of them: two lengths, folded headers, a bare line feed, control
characters. This is the rest: what it takes, and a proxy in front may take for something else.
"""

import re

from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler
from multidict import CIMultiDictProxy
from yarl import URL

from imgsvc.errors import MalformedRequest, RequestHeadTooLarge

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of all headers together; aiohttp only knows a limit for each."""

_HOST = re.compile(r"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
"""A `Host` (RFC 9110, section 7.2)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DISGUISED = frozenset({"transfer_encoding", "content_length"})
"""Names that gateways which turn `-` into `_` cannot tell from the true ones."""


@web.middleware
async def framing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is ambiguous with MalformedRequest, which also closes the connection.

    Raises RequestHeadTooLarge, too.
    """
    if request.version < HttpVersion10:
        raise MalformedRequest("HTTP/0.9 is not spoken here. Use HTTP/1.1.")
    if sum(len(name) + len(value) for name, value in request.raw_headers) > MAX_HEAD_BYTES:
        raise RequestHeadTooLarge
    _check_length(request)
    _check_target(request)
    return await handler(request)


def _check_length(request: web.Request) -> None:
    headers: CIMultiDictProxy[str] = request.headers
    if any(name.lower() in _DISGUISED for name in headers):
        raise MalformedRequest("A header is called like a framing header, with an underscore.")
    if (wrong := request.content.exception()) is not None:
        raise wrong  # by then the connection has seen long extensions of chunks
    codings = headers.getall("Transfer-Encoding", [])
    if not codings:
        return
    if request.version <= HttpVersion10:
        raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding. Send Content-Length.")
    if [coding.strip().lower() for coding in codings] != ["chunked"]:
        raise MalformedRequest("The only Transfer-Encoding that is taken is `chunked`.")


def _check_target(request: web.Request) -> None:
    """Check where the request is meant to go: the target of its first line, and `Host`."""
    target, host = request.raw_path, request.headers.get("Host", "")
    if host and _HOST.fullmatch(host) is None:
        raise MalformedRequest("The header Host is no host name or address.")
    if request.method == "CONNECT":
        raise MalformedRequest("This is no proxy: CONNECT is not taken.")
    if "#" in target:
        raise MalformedRequest("The path has a fragment. Leave out what follows `#`.")
    if not target.startswith("/") and target != "*":
        _check_absolute(target, host)
    query = (text for pair in request.query.items() for text in pair)
    if any(_CONTROL.search(text) for text in (request.path, *query)):
        raise MalformedRequest("The path or the query holds a control character.")


def _check_absolute(target: str, host: str) -> None:
    try:
        url = URL(target, encoded=True)
    except ValueError as exc:
        raise MalformedRequest from exc
    if url.scheme not in {"http", "https"} or url.raw_authority.lower() != host.lower():
        raise MalformedRequest("The request names another host than its header Host.")
