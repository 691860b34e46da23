"""What the secrets manager holds, read before the configuration is whole."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, ValidationError

from imgsvc.config.names import our_variables
from imgsvc.config.sources import Layers, nest
from imgsvc.secrets import Manager, SecretsConfig, open_manager

ROOM = "secrets"


def read_manager(settings_cls: type[BaseModel], layers: Layers) -> Mapping[str, str]:
    """Return the texts that the secrets manager holds; none without one.

    If it is configured wrongly there are none either: the validation of all settings says so.
    Raises ConfigurationError if it cannot be read.
    """
    room: dict[str, Any] = {}
    for values in (
        layers.table,
        nest(settings_cls, layers.files),
        nest(settings_cls, our_variables()),
    ):
        keys = values.get(ROOM)
        room |= keys if isinstance(keys, dict) else {}
    try:
        config = SecretsConfig.model_validate(room)
    except (ValidationError, OSError):  # OSError: no path, too long say
        return {}
    if config.manager is None:
        return {}
    # In a thread: some commands read their configuration in a running event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _read(config, config.manager)).result()


async def _read(config: SecretsConfig, manager: Manager) -> Mapping[str, str]:
    async with open_manager(config, manager) as source:
        return without_own(await source.read())


def without_own(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Return the texts without those about the manager itself: they would come too late."""
    return {name: text for name, text in texts.items() if not name.startswith(f"{ROOM}__")}
