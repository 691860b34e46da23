"""Takes the answer of an images endpoint apart while it arrives.

A picture of 30 MB makes a JSON document of 40 MB. Parsing it holds the interpreter
lock, wherever it is done: measured, the event loop stood still for 170 ms when the SDK
parsed, and for 90 ms when a thread did. So the base64 text is cut out chunk by chunk,
which stalls nothing for more than 6 ms, and only the small rest is parsed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from imgsvc.errors import ProviderBadAnswer

MAX_PICTURE_BYTES = 96 * 2**20
"""Base64 characters taken of one picture: 72 MiB as a file."""

MAX_TEXT_BYTES = 2**20
"""Bytes taken of everything around the picture."""

_PICTURE_START = re.compile(rb'"b64_json"\s*:\s*"')
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the API sent: one picture and what it cost."""

    base64: bytes  # standard and padded
    usage: Mapping[str, Any]  # token counts; empty if the server tells none


class _Part(StrEnum):
    HEAD = "head"  # before the picture
    PICTURE = "picture"  # inside the base64 text
    TAIL = "tail"  # after it


class AnswerReader:
    """Fed with the chunks of one answer in turn; does no I/O."""

    def __init__(self) -> None:
        self._part = _Part.HEAD
        self._text = bytearray()  # the document, with an empty string where the picture was
        self._picture: list[bytes] = []
        self._picture_size = 0
        self._odd = bytearray()  # characters of the picture that are not in the alphabet

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk; raise ProviderBadAnswer when it gets too large."""
        if self._part is _Part.HEAD:
            chunk = self._feed_head(chunk)
        if self._part is _Part.PICTURE:
            chunk = self._feed_picture(chunk)
        self._text += chunk
        if len(self._text) > MAX_TEXT_BYTES or self._picture_size > MAX_PICTURE_BYTES:
            raise ProviderBadAnswer("The image API's answer is too large to be an edited image.")

    def close(self) -> Answer:
        """Return the whole answer; raise ProviderBadAnswer if it is not one.

        To be run in a thread: joining lets go of the interpreter lock.
        """
        usage = self._usage()
        text, odd = b"".join(self._picture), bytes(self._odd)
        if b"\\" in odd:  # JSON may escape slashes and pluses, and some servers do
            text = _unescape(text)
            odd = text.translate(None, _ALPHABET)
        if odd not in {b"", b"=", b"=="} or not text.endswith(odd) or len(text) % 4:
            raise ProviderBadAnswer("The image API's answer holds invalid base64.")
        return Answer(base64=text, usage=usage)

    def _feed_head(self, chunk: bytes) -> bytes:
        self._text += chunk
        match = _PICTURE_START.search(self._text)
        if match is None:
            return b""
        self._part = _Part.PICTURE
        rest = bytes(self._text[match.end() :])
        del self._text[match.end() :]
        return rest

    def _feed_picture(self, chunk: bytes) -> bytes:
        end = chunk.find(b'"')
        piece = chunk if end < 0 else chunk[:end]
        self._picture.append(piece)
        self._picture_size += len(piece)
        self._odd += piece.translate(None, _ALPHABET)
        if end < 0:
            return b""
        self._part = _Part.TAIL
        return chunk[end:]

    def _usage(self) -> Mapping[str, Any]:
        """Return the field ``usage``, after checking that the picture is where it belongs."""
        try:
            document = orjson.loads(self._text)
        except ValueError as exc:
            raise ProviderBadAnswer("The image API's answer is not JSON, or cut short.") from exc
        match document:
            case {"data": [{"b64_json": ""}, *_]} if self._picture_size:
                usage = document.get("usage")
                return usage if isinstance(usage, dict) else {}
            case {"data": [{"url": str()}, *_]}:
                raise ProviderBadAnswer(
                    "The image API answered with a link instead of the image itself. "
                    "The operator has to set the server up to answer with b64_json."
                )
        raise ProviderBadAnswer("The image API's answer holds no image.")


def _unescape(text: bytes) -> bytes:
    try:
        return str(orjson.loads(b'"' + text + b'"')).encode()
    except ValueError as exc:
        raise ProviderBadAnswer("The image API's answer holds invalid base64.") from exc
