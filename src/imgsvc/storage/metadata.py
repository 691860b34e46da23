"""What an object's metadata may be: headers that every storage takes and gives back unchanged."""

import re
from collections.abc import Mapping
from urllib.parse import quote

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")  # HTTP drops blanks at either end
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?$")
_MAX_NAME = 64
_MAX_VALUE = 256  # characters; Swift takes no more
_MAX_BYTES = 2048  # names and values together; S3 takes no more


def check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return metadata as a dictionary; raise ValueError if a storage could not keep it.

    Names are lower-case letters, digits and single hyphens, at most 64 characters; values
    printable ASCII, at most 256 characters and none of them a blank at either end; all
    together at most 2048 bytes.
    """
    checked = dict(metadata or {})
    for name, value in checked.items():
        if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
            raise ValueError(f"{name!r} cannot be the name of an object's metadata")
        if not _VALUE.fullmatch(value) or len(value) > _MAX_VALUE:
            raise ValueError(f"the value of {name} cannot be an object's metadata")
    if sum(len(name) + len(value) for name, value in checked.items()) > _MAX_BYTES:
        raise ValueError(f"an object's metadata cannot have more than {_MAX_BYTES} bytes")
    return checked


def metadata_value(text: str) -> str:
    """Return any text as a value: percent-encoded UTF-8 but for `/` and `:`, and cut to fit.

    Equal texts give equal values, so one can be looked for; `urllib.parse.unquote` gives
    back a text that was not cut.
    """
    return _CUT_ESCAPE.sub("", quote(text, safe="/:", errors="replace")[:_MAX_VALUE])
