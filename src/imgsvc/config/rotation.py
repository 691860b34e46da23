"""Secrets that are replaced while the server runs.

The sources are read again, the settings composed anew, by the same rules as at the start, and
what has changed among their secrets is put into the settings in force. Whoever uses a secret
asks those settings at each use. Everything else stays as it was at the start.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import structlog
from pydantic import BaseModel, SecretStr

from imgsvc.config import Settings, compose, read_table, secret_values
from imgsvc.config.managed import without_own
from imgsvc.config.sources import Layers
from imgsvc.errors import ConfigurationError
from imgsvc.logs import redact_too
from imgsvc.secrets import ReadOutcome, Renewals, SecretFiles, SecretSource, open_manager

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

FILES_INTERVAL = 2.0
"""Seconds from one look at the secret files to the next."""

_MOST_TABLES = 50
"""Tables that are tried one by one, which takes some hundredths of a second each."""

_COMPANIONS = frozenset({"access_key_id", "username", "vault_role_id"})
"""Keys that are no secrets, but change together with one."""


@dataclass(kw_only=True, slots=True)
class _Watched:
    """A source, and when it is read again."""

    source: SecretSource
    interval: float  # seconds
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)  # or an earlier answer came last
    told: str | None = None  # why it could not be read the last time
    refused: list[str] = field(default_factory=list)  # what was wrong the last time
    missing: list[str] = field(default_factory=list)  # what was there before, not the last time


class Rotation:
    """Keeps the secrets of settings up to date; made by open_rotation."""

    def __init__(
        self, settings: Settings, files: SecretSource | None, manager: SecretSource | None
    ) -> None:
        self._settings = settings
        self._layers = settings.layers or Layers(file=None, table={})
        self._waiting: list[str] = []  # settings that have changed and wait for a start
        self._files = None if files is None else _Watched(source=files, interval=FILES_INTERVAL)
        self._watched = [] if self._files is None else [self._files]
        if manager is not None:
            self._watched.append(_Watched(source=manager, interval=settings.secrets.interval))
        self._taking = asyncio.Lock()
        self.renewals = Renewals(self._look if self._watched else None)
        for name, outcome in product(self.sources, ReadOutcome):
            self.renewals.reads[name, outcome] = 0  # so that figures begin before the first read

    @property
    def sources(self) -> list[str]:
        """What is read again, by the names of the sources."""
        return [watched.source.name for watched in self._watched]

    @property
    def has_file(self) -> bool:
        """Whether there is a configuration file."""
        return self._layers.file is not None

    async def read_again(self) -> bool:
        """Read all sources now, and tell whether a secret was replaced.

        Raises ConfigurationError with what cannot be read or used.
        """
        before = self.renewals.count
        await self._look()
        told = [watched.told for watched in self._watched if watched.told is not None]
        refused = [problem for watched in self._watched for problem in watched.refused]
        if told or refused:
            raise ConfigurationError([*told, *refused])
        return self.renewals.count != before

    async def compare_file(self) -> bool:
        """Read the configuration file, and tell whether a start would make other settings of it.

        They stay as they are. Raises ConfigurationError if the server would not start.
        """
        table = await asyncio.to_thread(read_table, self._layers.file)
        if table == self._layers.table:
            return False
        fresh = await asyncio.to_thread(compose, replace(self._layers, table=table))
        redact_too(secret_values(fresh))
        settings = list(differing(self._settings, fresh))
        if settings:
            log.warning(
                "settings_need_restart",
                file=str(self._layers.file),
                settings=settings,
                effect="those from the start stay",
            )
        return bool(settings)

    async def run(self) -> None:
        """Read each source again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watched in self._watched:
                group.create_task(self._keep_reading(watched), name=watched.source.name)

    async def _keep_reading(self, watched: _Watched) -> None:
        while True:
            await asyncio.sleep(watched.interval)
            await self._read_one(watched)

    async def _look(self) -> None:
        await asyncio.gather(*(self._read_one(watched) for watched in self._watched))

    async def _read_one(self, watched: _Watched) -> None:
        async with watched.reading:
            await self._read(watched)

    async def _read(self, watched: _Watched) -> None:
        """Read a source, and take over what is new; of a source that is away keep the last."""
        name = watched.source.name
        try:
            texts = await watched.source.read()
        except ConfigurationError as exc:
            self.renewals.reads[name, ReadOutcome.FAILED] += 1
            if exc.message != watched.told:
                log.warning(
                    "secrets_not_read", source=name, reason=exc.message, effect="the last ones stay"
                )
            watched.told = exc.message
            return
        if watched.told is not None:
            log.info("secrets_read_again", source=name)
            watched.told = None
        async with self._taking:
            outcome = await self._take(watched, texts)
        self.renewals.reads[name, outcome] += 1

    async def _take(self, watched: _Watched, texts: Mapping[str, str]) -> ReadOutcome:
        """Take over what is new and right. A secret that is not there any more stays."""
        if watched is self._files:
            known = self._layers.files
            wanted = replace(self._layers, files={**known, **texts})
        else:
            known = self._layers.managed
            wanted = replace(self._layers, managed={**known, **without_own(texts)})
        missing = sorted(known.keys() - texts.keys())
        if missing and missing != watched.missing:
            log.warning(
                "secrets_missing",
                source=watched.source.name,
                names=missing,
                effect="the last ones stay, until the next start",
            )
        watched.missing = missing
        problems: list[str] = []
        if wanted != self._layers:
            # In a thread: it takes longer than others should have to wait.
            settings, self._layers, problems = await asyncio.to_thread(
                _compose_what_is_right, self._layers, wanted
            )
            if settings is not None:
                problems += self._take_over(settings)
        if problems and problems != watched.refused:
            log.warning("secrets_refused", problems=problems, effect="the last ones stay")
        watched.refused = problems
        return ReadOutcome.REFUSED if problems else ReadOutcome.READ

    def _take_over(self, fresh: Settings) -> list[str]:
        """Put the secrets of fresh settings in force, and return the problems.

        One that was not set at the start is not used by anybody, so it stays unset; and one
        that is set is never taken away.
        """
        redact_too(secret_values(fresh))
        changed, emptied = [], []
        for name, model, key, new in _secrets(self._settings, fresh):
            if new == getattr(model, key):
                continue
            if new:
                setattr(model, key, new)
                changed.append(name)
            else:
                emptied.append(name)
        if changed:
            log.info("secrets_renewed", settings=changed)
            self.renewals.note()
        waiting = [each for each in differing(self._settings, fresh) if each not in emptied]
        if waiting and waiting != self._waiting:
            log.warning(
                "secrets_need_restart",
                settings=waiting,
                effect="those from the start stay, and what was not set stays so",
            )
        self._waiting = waiting
        return [f"{name}: is empty" for name in emptied]


@asynccontextmanager
async def open_rotation(settings: Settings) -> AsyncIterator[Rotation]:
    """Yield what keeps the secrets of these settings up to date, once its `run` is called.

    Raises ConfigurationError if a source cannot be used.
    """
    layers = settings.layers
    async with AsyncExitStack() as stack:
        files = manager = None
        if layers is not None and layers.secrets_dir is not None:
            files = SecretFiles(layers.secrets_dir)
        if layers is not None and settings.secrets.manager is not None:
            manager = await stack.enter_async_context(
                open_manager(settings.secrets, settings.secrets.manager)
            )
        yield Rotation(settings, files, manager)


def _compose_what_is_right(
    accepted: Layers, wanted: Layers
) -> tuple[Settings | None, Layers, list[str]]:
    """Return the settings with all new secrets that are right, their layers, and the problems.

    What is in one table is taken together or not at all: a key goes with its id. None: nothing
    new is right.
    """
    with suppress(ConfigurationError):
        return compose(wanted), wanted, []
    settings: Settings | None = None
    problems: list[str] = []
    changed = {*wanted.files.items(), *wanted.managed.items()}
    changed -= {*accepted.files.items(), *accepted.managed.items()}
    tables = sorted({_table(name) for name, _ in changed})
    if len(tables) > _MOST_TABLES:
        problem = f"{len(tables):,} tables change at once, and not all of them are right"
        return None, accepted, [problem]
    for table in tables:
        tried = replace(
            accepted,
            files=_with_table(accepted.files, wanted.files, table),
            managed=_with_table(accepted.managed, wanted.managed, table),
        )
        try:
            settings, accepted = compose(tried), tried
        except ConfigurationError as exc:
            problems += exc.problems
    return settings, accepted, problems


def _with_table(
    accepted: Mapping[str, str], wanted: Mapping[str, str], table: str
) -> dict[str, str]:
    return {**accepted, **{name: text for name, text in wanted.items() if _table(name) == table}}


def _table(name: str) -> str:
    """Return which table a secret is of: `providers__gpu` of `providers__gpu__api_key`."""
    return name.lower().rpartition("__")[0]


def _secrets(
    live: BaseModel, fresh: BaseModel, at: str = ""
) -> Iterator[tuple[str, BaseModel, str, Any]]:
    """Yield for each secret in force its name in words, its model, its key there, its new value."""
    for key in type(live).model_fields:
        old, new = getattr(live, key), getattr(fresh, key)
        if _is_secret(key, old):
            yield f"{at}{key}", live, key, new
            continue
        for name, part, counterpart in _parts(old, new):
            yield from _secrets(part, counterpart, f"{at}{key}.{name}")


def _is_secret(key: str, value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(entry, SecretStr) for entry in value)
    return isinstance(value, SecretStr) or (key in _COMPANIONS and value is not None)


def differing(live: BaseModel, fresh: BaseModel, at: str = "") -> Iterator[str]:
    """Yield the names of the settings that are others in `fresh`."""
    for key in type(live).model_fields:
        old, new = getattr(live, key), getattr(fresh, key)
        if old == new:
            continue
        parts = list(_parts(old, new))
        found = [
            each
            for name, part, counterpart in parts
            for each in differing(part, counterpart, f"{at}{key}.{name}")
        ]
        yield from found or [f"{at}{key}"]


def _parts(old: Any, new: Any) -> Iterator[tuple[str, BaseModel, BaseModel]]:
    """Yield the tables in a value with their counterparts, by their names where they have one."""
    match old, new:
        case BaseModel(), BaseModel() if type(old) is type(new):
            yield "", old, new
        case [*entries], [*others]:
            # Those of image APIs are the same. Another list may have changed: it has no secrets.
            for entry, other in zip(entries, others, strict=False):
                for _, part, counterpart in _parts(entry, other):
                    yield f"{getattr(part, 'name', '')}.", part, counterpart
        case dict(), dict():
            for name in old.keys() & new.keys():
                for _, part, counterpart in _parts(old[name], new[name]):
                    yield f"{name}.", part, counterpart
