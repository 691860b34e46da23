"""An encoded picture on its way out."""

import asyncio
from dataclasses import dataclass

import pybase64

from imgsvc.imaging.formats import ImageFormat


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedImage:
    """An image file as bytes or, where a provider sent it so, still as base64 text.

    Whoever needs the other form asks for it; a result that only passes through is
    never decoded and encoded again. Both conversions run in a thread: they take some
    milliseconds a megabyte, and pybase64 lets go of the interpreter lock.
    """

    format: ImageFormat
    content: bytes
    is_base64: bool = False  # `content` is standard, padded base64 of the file

    async def to_bytes(self) -> bytes:
        """Return the image file."""
        if not self.is_base64:
            return self.content
        return await asyncio.to_thread(pybase64.b64decode, self.content, validate=True)

    async def to_base64(self) -> bytes:
        """Return the image file as standard, padded base64 in ASCII."""
        if self.is_base64:
            return self.content
        return await asyncio.to_thread(pybase64.b64encode, self.content)
