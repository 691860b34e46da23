"""Requests that two servers in a row could read in two ways, as an attacker sends them."""

import pytest

from standins.service import Caller
from web.raw_sockets import connection, until_closed

pytestmark = pytest.mark.asyncio(loop_scope="package")

POST = b"POST /jobs/x/cancel HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
EMPTY = b"\r\n0\r\n\r\n"
SMUGGLED = b"GET /health HTTP/1.1\r\nHost: smuggled\r\n\r\n"

LENGTHS = {
    "length-and-chunked": POST + b"Content-Length: 4\r\n" + CHUNKED + EMPTY,
    "chunked-and-length": POST + CHUNKED + b"Content-Length: 4\r\n" + EMPTY,
    "two-lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "the-same-length-twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "list-of-lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "length-with-plus": POST + b"Content-Length: +2\r\n\r\n{}",
    "negative-length": POST + b"Content-Length: -2\r\n\r\n{}",
    "hexadecimal-length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "length-of-23-digits": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "length-with-space": POST + b"Content-Length: 1 2\r\n\r\n{}",
    "no-length": POST + b"Content-Length: \r\n\r\n{}",
    "length-with-underscore": POST + b"Content_Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "other-coding": POST + b"Transfer-Encoding: xchunked\r\n" + EMPTY,
    "compressed": POST + b"Transfer-Encoding: gzip, chunked\r\n" + EMPTY,
    "chunked-not-last": POST + b"Transfer-Encoding: chunked, identity\r\n" + EMPTY,
    "identity": POST + b"Transfer-Encoding: identity\r\n" + EMPTY,
    "chunked-twice": POST + CHUNKED + CHUNKED + EMPTY,
    "chunked-and-identity": POST + CHUNKED + b"Transfer-Encoding: identity\r\n" + EMPTY,
    "vertical-tab": POST + b"Transfer-Encoding: \x0bchunked\r\n" + EMPTY,
    "quoted": POST + b'Transfer-Encoding: "chunked"\r\n' + EMPTY,
    "parameter": POST + b"Transfer-Encoding: chunked;a=b\r\n" + EMPTY,
    "folded": POST + b"Transfer-Encoding:\r\n chunked\r\n" + EMPTY,
    "underscore": POST + b"Transfer_Encoding: chunked\r\n" + EMPTY,
    "http-1.0": b"POST /jobs/x/cancel HTTP/1.0\r\nHost: x\r\n" + CHUNKED + EMPTY,
}

CHUNKS = {
    "long-extension": b"2;" + b"a" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n",
    "endless-extension": b"2;" + b"a" * 1_000_000,
    "many-extensions": (b"1;" + b"a" * 10_000 + b"\r\n \r\n") * 100 + b"0\r\n\r\n",
    "line-feed-in-extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "size-overflow": b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "negative-size": b"-1\r\n{}\r\n0\r\n\r\n",
    "size-with-prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "line-feeds": b"2\n{}\n0\n\n",
    "no-line-end": b"2\r\n{}0\r\n\r\n",
    "many-trailers": b"0\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    "length-in-trailer": b"0\r\nContent-Length: 5\r\n\r\n",
}

HEADS = {
    "folded": GET + b"A: b\r\n c\r\n\r\n",
    "line-feeds": b"GET /health/live HTTP/1.1\nHost: x\n\n",
    "line-feed-in-header": GET + b"A: b\nC: d\r\n\r\n",
    "carriage-return-in-header": GET + b"A: b\rC: d\r\n\r\n",
    "nul": GET + b"A: b\0c\r\n\r\n",
    "nul-in-name": GET + b"A\0: b\r\n\r\n",
    "control-character": GET + b"A: b\x01c\r\n\r\n",
    "escape": GET + b"A: b\x1bc\r\n\r\n",
    "delete": GET + b"A: b\x7fc\r\n\r\n",
    "name-beyond-ascii": GET + b"\xc3\xa4: b\r\n\r\n",
    "space-before-colon": GET + b"A : b\r\n\r\n",
    "space-before-name": b"GET /health/live HTTP/1.1\r\n Host: x\r\n\r\n",
    "no-name": GET + b": b\r\n\r\n",
    "no-colon": GET + b"A\r\n\r\n",
    "http-0.9": b"GET /health/live\r\n\r\n",
    "http-0.9-by-name": b"GET /health/live HTTP/0.9\r\n\r\n",
    "http-1.2": b"GET /health/live HTTP/1.2\r\nHost: x\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tabs": b"GET\t/health/live\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "small-method": b"get /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "no-host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET /health/live HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "host-with-path": b"GET /health/live HTTP/1.1\r\nHost: x/y@z\r\n\r\n",
    "host-with-user": b"GET /health/live HTTP/1.1\r\nHost: a@x\r\n\r\n",
    "other-host": b"GET http://other/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "other-port": b"GET http://x:1/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "user-and-host": b"GET http://x@other/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "other-scheme": b"GET ftp://x/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n",
    "fragment": b"GET /health/live#a HTTP/1.1\r\nHost: x\r\n\r\n",
    "control-character-in-path": b"GET /health\x01/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "nul-in-path": b"GET /jobs/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "line-end-in-path": b"GET /jobs/%0d%0aSet-Cookie:a HTTP/1.1\r\nHost: x\r\n\r\n",
    "c1-control-in-path": b"GET /jobs/%c2%9b HTTP/1.1\r\nHost: x\r\n\r\n",
    "line-end-in-query": b"GET /jobs?cursor=%0d%0a HTTP/1.1\r\nHost: x\r\n\r\n",
    "line-end-in-name-of-query": b"GET /jobs?a%0ab=1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "beyond-ascii-in-path": b"GET /jobs/\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
}


async def assert_refused(caller: Caller, request: bytes) -> None:
    """Send the request with another one behind it, which must not be answered."""
    async with connection(caller.server.url) as (reader, writer):
        writer.write(request + SMUGGLED)
        answer = await until_closed(reader)
    assert b" 400 Bad Request\r\n" in answer[:40]
    assert b'"code":"malformed_request"' in answer
    assert b"uptime_seconds" not in answer


@pytest.mark.parametrize("request_", LENGTHS.values(), ids=LENGTHS)
async def test_a_length_that_is_not_beyond_doubt_is_refused(local: Caller, request_: bytes) -> None:
    await assert_refused(local, request_)


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
async def test_chunks_that_are_not_beyond_doubt_are_refused(local: Caller, body: bytes) -> None:
    head = f"POST /process-image-async HTTP/1.1\r\nHost: x\r\ncallbackUrl: {local.receiver.url}\r\n"
    kind = b"Content-Type: application/json\r\n"
    await assert_refused(local, head.encode() + kind + CHUNKED + b"\r\n" + body)


@pytest.mark.parametrize("request_", HEADS.values(), ids=HEADS)
async def test_a_head_that_is_not_beyond_doubt_is_refused(local: Caller, request_: bytes) -> None:
    await assert_refused(local, request_)


@pytest.mark.parametrize(
    "request_",
    [
        GET + b"\r\n",
        b"GET /health/live HTTP/1.0\r\n\r\n",
        b"GET http://x/health/live HTTP/1.1\r\nHost: X\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
        b"GET /health/live?a=%C3%A4 HTTP/1.1\r\nHost: images.example.com:443\r\n\r\n",
        GET + b"A: \xc3\xa4\tb\r\n\r\n",
    ],
    ids=["plain", "http-1.0", "absolute", "ipv6", "query", "beyond-ascii"],
)
async def test_what_is_unusual_but_clear_is_answered(local: Caller, request_: bytes) -> None:
    async with connection(local.server.url) as (reader, writer):
        writer.write(request_)
        assert b" 200 OK\r\n" in await reader.readline()


async def test_chunks_of_one_byte_are_taken(local: Caller) -> None:
    async with connection(local.server.url) as (reader, writer):
        body = b"".join(b"1\r\n%c\r\n" % byte for byte in b"{" + b" " * 50_000)
        writer.write(
            b"POST /process-image-async HTTP/1.1\r\nHost: x\r\nPrefer: respond-async\r\n"
            b"Content-Type: application/json\r\n" + CHUNKED + b"\r\n" + body + b"0\r\n\r\n"
        )
        assert b" 400 Bad Request\r\n" in await reader.readline()
        assert b'"code":"invalid_json"' in await reader.readuntil(b"}")


async def test_a_body_that_nobody_reads_ends_the_connection(local: Caller) -> None:
    async with connection(local.server.url) as (reader, writer):
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(SMUGGLED)
        rest = await until_closed(reader)
    assert b" 404 Not Found\r\n" in head
    assert b"Connection: close\r\n" in head
    assert b"HTTP/1.1" not in rest
