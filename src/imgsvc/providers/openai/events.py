"""Takes the answer of an images endpoint apart that comes as a stream of events.

Server-sent events, as the WHATWG HTML standard says in section 9.2.6: the data of each is
one JSON document, and of each the picture is cut out while it arrives.

Source: https://platform.openai.com/docs/api-reference/images-streaming
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pybase64

from imgsvc.errors import ProviderBadAnswer
from imgsvc.providers.cutting import PictureDocument
from imgsvc.providers.openai.answer import PICTURE_START, Answer, usage_of

MEDIA_TYPE = "text/event-stream"

_DATA, _EVENT = b"data:", b"event:"
_KEPT_OF_A_LINE = 100
"""Bytes that are kept of a line that is no data: names of events are shorter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamEvent:
    """One event: its name, and its document with an empty string where the picture was."""

    name: str  # as its line `event` says, or else the document's `type`
    document: Mapping[str, Any]
    picture: PictureDocument

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The API's error object, if the event is one."""
        error = self.document.get("error")
        if error:
            return error if isinstance(error, dict) else {}
        return self.document if self.name == "error" else None

    @property
    def is_partial(self) -> bool:
        """Whether it has a picture that is not finished."""
        return self.name == "image_edit.partial_image" and self._has_picture

    @property
    def is_completed(self) -> bool:
        """Whether it has the result."""
        return self.name == "image_edit.completed" and self._has_picture

    def answer(self) -> Answer:
        """Return the result; for a thread. Raises ProviderBadAnswer for invalid base64."""
        return Answer(base64=self.picture.base64(), usage=usage_of(self.document))

    def file(self) -> bytes:
        """Return the picture's file; for a thread. Raises ProviderBadAnswer for invalid base64."""
        return pybase64.b64decode(self.picture.base64())

    @property
    def _has_picture(self) -> bool:
        return self.document.get("b64_json") == "" and self.picture.has_picture


class StreamReader:
    """Fed with the chunks of one stream in turn; does no I/O.

    Comments, and fields that mean nothing here, may be of any length: they are not kept.
    """

    def __init__(self) -> None:
        self._line = bytearray()  # how the current one begins, as long as it may be no data
        self._in_data = False  # the current line is data
        self._after_cr = False  # a line feed that comes next belongs to the last line's end
        self._name = ""
        self._data: PictureDocument | None = None

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        """Take the next chunk, and yield the events that end in it.

        Raises ProviderBadAnswer if an event is too large or no JSON object.
        """
        if not chunk:
            return
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        for line in chunk.splitlines(keepends=True):
            piece = line.rstrip(b"\r\n")
            self._take(piece)
            if len(piece) < len(line):
                yield from self._end_line()

    def close(self) -> Iterator[StreamEvent]:
        """Yield the event that lacks nothing but the blank line after it, if there is one.

        Raises ProviderBadAnswer if it lacks more.
        """
        yield from self._end_line()
        yield from self._end_event()

    def _take(self, piece: bytes) -> None:
        """Take a piece of the current line, without the line's end."""
        if not self._in_data:
            self._line += piece
            if not self._line.startswith(_DATA):
                del self._line[_KEPT_OF_A_LINE:]
                return
            self._in_data = True
            piece = bytes(self._line.removeprefix(_DATA))
        if self._data is None:
            self._data = PictureDocument(PICTURE_START)
        self._data.feed(piece)

    def _end_line(self) -> Iterator[StreamEvent]:
        line, self._line = bytes(self._line), bytearray()
        if self._in_data and self._data is not None:
            self._in_data = False
            self._data.feed(b"\n")  # between this line of data and the next
        elif not line:
            yield from self._end_event()
        elif line.startswith(_EVENT):
            self._name = line.removeprefix(_EVENT).strip().decode(errors="replace")

    def _end_event(self) -> Iterator[StreamEvent]:
        name, self._name = self._name, ""
        data, self._data = self._data, None
        if data is None:
            return
        document = data.rest()
        if not isinstance(document, dict):
            raise ProviderBadAnswer("The image API's answer holds an event that is no object.")
        name = name or str(document.get("type", ""))
        yield StreamEvent(name=name, document=document, picture=data)
