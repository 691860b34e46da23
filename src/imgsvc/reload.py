"""What is read again when a SIGHUP asks for it, at any time between start and end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import structlog

from imgsvc.errors import ConfigurationError, describe

log = structlog.get_logger(__name__)

ReadAgain: TypeAlias = Callable[[], Awaitable[bool]]
"""Reads something again, and tells whether it has changed. Raises ConfigurationError if it
cannot be used; what was in force then stays so."""


async def read_when_asked(asked: asyncio.Event, sources: Mapping[str, ReadAgain]) -> None:
    """Read all sources, by their names, whenever the event is set; until cancelled.

    There is one log line each time, if only to say that there is nothing to read.
    """
    while True:
        await asked.wait()
        asked.clear()
        outcomes = await asyncio.gather(*map(_outcome, sources.values()))
        named = dict(zip(sources, outcomes, strict=True))
        failed = [f"{name}: {why}" for name, why in named.items() if isinstance(why, str)]
        changed = [name for name, outcome in named.items() if outcome is True]
        if failed:
            log.warning(
                "read_again",
                read=[*named],
                changed=changed,
                failed=failed,
                effect="of what has failed the old stays",
            )
        else:
            effect = None if named else "there is nothing to read again"
            log.info("read_again", read=[*named], changed=changed, failed=[], effect=effect)


async def _outcome(read: ReadAgain) -> bool | str:
    """Return whether something has changed, or why it cannot be used."""
    try:
        return await read()
    except ConfigurationError as exc:
        return exc.message
    except Exception as exc:
        log.exception("read_again_crashed")  # a signal must end no server, whatever is in a file
        return describe(exc)
