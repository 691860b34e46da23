"""Base64 as callers send it."""

import re

import pybase64

from imgsvc.errors import ImageFileTooLarge, InvalidBase64

_DATA_URL = re.compile(rb"data:image/[\w.+-]+(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_SPACE = b" \t\r\n\v\f"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def decode_base64(text: str, *, field: str, max_bytes: int) -> bytes:
    """Return the bytes that text stands for.

    Taken are the standard and the URL-safe alphabet (RFC 4648, sections 4 and 5), with
    or without padding, white space anywhere, and a leading ``data:image/…;base64,``
    (RFC 2397). Raises InvalidBase64, or ImageFileTooLarge for more than max_bytes.
    """
    # Far beyond the limit even if a part of it is white space: refuse it before any copy.
    if len(text) > 2 * max_bytes + 1024:
        raise _too_large(field, max_bytes)
    data = _plain(text, field)
    if len(data) // 4 * 3 > max_bytes + 3:
        raise _too_large(field, max_bytes)
    core = data.rstrip(b"=")
    padding = len(data) - len(core)
    if len(core) % 4 == 1 or padding not in {0, -len(core) % 4}:
        raise InvalidBase64(f"{field} is cut short, or wrongly padded.")
    try:
        decoded = pybase64.b64decode(core + b"=" * (-len(core) % 4), validate=True)
    except ValueError as exc:
        raise _foreign(field) from exc
    if len(decoded) > max_bytes:
        raise _too_large(field, max_bytes)
    return decoded


def _plain(text: str, field: str) -> bytes:
    """Return text in the standard alphabet, without what may stand around and between."""
    try:
        data = text.encode("ascii")
    except UnicodeEncodeError as exc:
        raise _foreign(field) from exc
    prefix = _DATA_URL.match(data)
    if prefix is not None:
        data = data[prefix.end() :]
    data = data.translate(None, _SPACE)
    if not data:
        raise InvalidBase64(f"{field} is empty.")
    if b"-" in data or b"_" in data:
        if b"+" in data or b"/" in data:
            raise InvalidBase64(f"{field} mixes the standard and the URL-safe alphabet.")
        data = data.translate(_TO_STANDARD)
    return data


def _foreign(field: str) -> InvalidBase64:
    return InvalidBase64(f"{field} holds characters outside the base64 alphabet.")


def _too_large(field: str, max_bytes: int) -> ImageFileTooLarge:
    return ImageFileTooLarge(f"{field} holds more than {max_bytes} bytes. Send a smaller image.")
