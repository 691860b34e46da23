"""The configuration in force, as admins see it: every key, and no secret."""

import re
from collections.abc import Sequence
from typing import Any

from imgsvc.config import Settings, secret_values
from imgsvc.redaction import longest_first, without

HIDDEN = "**********"
"""Stands for a secret; pydantic writes the same."""

_USER = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY = re.compile(r"(?<=\?).+", re.DOTALL)


def shown(settings: Settings) -> dict[str, Any]:
    """Return the configuration as a JSON document.

    Hidden are secrets, and in URLs user names, passwords and queries.
    """
    secrets = longest_first(secret_values(settings))
    document: dict[str, Any] = _hide(settings.model_dump(mode="json"), secrets)
    return document


def _hide(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {name: _hide(each, secrets) for name, each in value.items()}
    if isinstance(value, list):
        return [_hide(each, secrets) for each in value]
    if not isinstance(value, str):
        return value
    value = without(value, secrets, mark=HIDDEN)
    if "://" not in value:
        return value
    return _QUERY.sub(HIDDEN, _USER.sub(f"{HIDDEN}@", value))
