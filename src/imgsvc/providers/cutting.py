"""Cuts the one picture out of a JSON document while that arrives.

A picture of 30 MB makes a JSON document of 40 MB. Parsing it holds the interpreter
lock, wherever it is done: measured, the event loop stood still for 170 ms when a client
library parsed, and for 90 ms when a thread did. So the base64 text is cut out chunk by chunk,
which stalls nothing for more than 6 ms, and only the small rest is parsed.
"""

import re
from enum import StrEnum
from typing import Any

import orjson

from imgsvc.errors import ProviderBadAnswer

MAX_PICTURE_BYTES = 96 * 2**20
"""Base64 characters taken of one picture: 72 MiB as a file."""

MAX_TEXT_BYTES = 2**20
"""Bytes taken of everything around the picture."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class _Part(StrEnum):
    HEAD = "head"  # before the picture
    PICTURE = "picture"  # inside the base64 text
    TAIL = "tail"  # after it


class PictureDocument:
    """A JSON document that holds a picture as base64; fed with its chunks, does no I/O.

    `start` is what comes before the picture, up to and with its opening quote.
    """

    def __init__(self, start: re.Pattern[bytes]) -> None:
        self._start = start
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

    @property
    def has_picture(self) -> bool:
        """Whether there is any base64 text."""
        return self._picture_size > 0

    def rest(self) -> Any:
        """Return the document with an empty string where the picture was.

        Raises ProviderBadAnswer if it is not JSON.
        """
        try:
            return orjson.loads(self._text)
        except ValueError as exc:
            raise ProviderBadAnswer("The image API's answer is not JSON, or cut short.") from exc

    def base64(self) -> bytes:
        """Return the picture as standard, padded base64; raise ProviderBadAnswer if it is not.

        To be run in a thread: joining lets go of the interpreter lock.
        """
        text, odd = b"".join(self._picture), bytes(self._odd)
        if b"\\" in odd:  # JSON may escape slashes and pluses, and some servers do
            text = _unescape(text)
            odd = text.translate(None, _ALPHABET)
        if odd not in {b"", b"=", b"=="} or not text.endswith(odd) or len(text) % 4:
            raise ProviderBadAnswer("The image API's answer holds invalid base64.")
        return text

    def _feed_head(self, chunk: bytes) -> bytes:
        self._text += chunk
        match = self._start.search(self._text)
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


def _unescape(text: bytes) -> bytes:
    try:
        return str(orjson.loads(b'"' + text + b'"')).encode()
    except ValueError as exc:
        raise ProviderBadAnswer("The image API's answer holds invalid base64.") from exc
