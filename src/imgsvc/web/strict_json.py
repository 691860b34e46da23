"""JSON that every reader takes for the same; runs in an image process, as `unpack` does."""

import json
import re
from typing import Any

import orjson

from imgsvc.errors import ControlCharacter, InvalidJson

DEEPEST = 64
"""Lists and objects within one another; the tools have two."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_PROMPT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""A prompt may have lines and tabs."""


def read_json(data: bytes) -> Any:
    """Return the document; raise InvalidJson if it is none, or a number is beyond doubles."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise InvalidJson(
            f"The body is not valid JSON (line {exc.lineno}, column {exc.colno})."
            " Send one JSON object, encoded as UTF-8."
        ) from exc


def check_structure(document: dict[str, Any], data: bytes) -> None:
    """Raise InvalidJson if a name is there twice in one object, or it is nested too deeply."""
    _check_depth(document)
    # orjson keeps the last one of several and tells nothing; a filter in front may keep another.
    json.loads(data.decode(), object_pairs_hook=_check_names, parse_int=len)


def check_controls(fields: dict[str, Any]) -> None:
    """Raise ControlCharacter if a text holds one, but for the lines of a prompt and of base64."""
    for name, value in fields.items():
        if _CONTROL.search(name):
            raise ControlCharacter("The name of a field holds a control character.")
        if name.endswith("_base64"):
            continue  # it is long, and its decoder looks at every character
        unwanted = _CONTROL_IN_PROMPT if name == "prompt" else _CONTROL
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and unwanted.search(text) for text in texts):
            shown = name if name.isidentifier() else "a field"
            raise ControlCharacter(f"The text of {shown[:100]} holds a control character.")


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise InvalidJson(f"The body has more than {DEEPEST} lists or objects within one another.")


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise InvalidJson("A field is there twice. Send each once.")
