"""What every place that keeps secrets has in common."""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

TIMEOUT = 10.0
"""Seconds that reading a secrets manager may take."""


class SecretSource(Protocol):
    """A place that keeps secrets."""

    @property
    def name(self) -> str:
        """What it is called in logs and figures."""
        ...

    async def read(self) -> Mapping[str, str]:
        """Return the text of each setting that is kept there, by its name `room__key`.

        Raises ConfigurationError, in words that hold no secret, if it cannot be read.
        """
        ...


def setting_texts(document: Mapping[str, Any]) -> dict[str, str]:
    """Return what a JSON object sets, as secret files would: lists and tables are JSON.

    Names without `__` are somebody else's, and what is empty sets nothing.
    """
    texts = {
        name.lower(): value.strip() if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in document.items()
        if "__" in name and value is not None
    }
    return {name: text for name, text in texts.items() if text}
