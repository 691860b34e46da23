"""The entries of [[providers]] and the tables [clients.NAME], and single keys from elsewhere.

A key must not stand in the file if it is a secret. So `providers__NAME__KEY`, as a
variable or a secret file, sets the one key of the entry that is called NAME, and
`clients__NAME__KEY` one of the client of that name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from imgsvc.config.names import PREFIX
from imgsvc.config.sources import decode, room_fields
from imgsvc.providers.base import NAME_PATTERN

PROVIDERS, CLIENTS = "providers", "clients"
IN_FILE: Mapping[str, str] = {PROVIDERS: "[[providers]]", CLIENTS: "[clients.NAME]"}
"""How the entries of a room stand in the file."""

_WORDS = {PROVIDERS: "provider", CLIENTS: "client"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entries:
    """The entries of a room with all keys that were set from elsewhere."""

    tables: Any  # what has another shape stays as it is: the validation says so
    problems: list[str]  # what is wrong with keys that were set from elsewhere
    whole: str  # what sets the room: as it stands in the file, or a variable
    single: Mapping[tuple[str, str], str]  # what sets keys alone, by place or name, and key

    def called(self, place: str) -> str | None:
        """Return the name of the entry at a place in the list; None if others have it too."""
        names = [_name(each) for each in self.tables] if isinstance(self.tables, list) else []
        name = names[int(place)]
        can_tell = name is not None and re.fullmatch(NAME_PATTERN, name) and names.count(name) == 1
        return name if can_tell else None

    def source(self, path: Sequence[str]) -> str:
        """Return what sets the key that a path leads to: `providers`, `0`, `api_key`."""
        place = path[1:3]
        return self.single.get((place[0], place[1]), self.whole) if len(place) == 2 else self.whole


def provider_entries(
    settings_cls: type[BaseModel],
    listed: object,
    secrets: Mapping[str, Mapping[str, str]],
    variables: Mapping[str, str],
) -> Entries:
    """Return the entries of [[providers]], and what sets them.

    `listed` are those of the file, or None. `secrets` are those of Layers, `variables` those of
    the environment, by what follows the prefix. A list in a variable replaces the file's.
    """
    text = variables.get(PROVIDERS.upper())
    entries = listed if text is None else decode(settings_cls.model_fields[PROVIDERS], text)
    whole = IN_FILE[PROVIDERS] if text is None else f"{PREFIX}{PROVIDERS.upper()}"
    if entries is None:
        entries = []
    if not isinstance(entries, list):
        return Entries(tables=entries, problems=[], whole=whole, single={})
    entries = [dict(each) if isinstance(each, dict) else each for each in entries]
    names = [_name(each) for each in entries]
    problems = []
    single = {}
    fields = room_fields(settings_cls, PROVIDERS)
    for source, rest, value in _single_keys(PROVIDERS, secrets, variables):
        name = _fitting(rest, filter(None, names))
        if name is None:
            problems.append(f"{source}: {_explain_nobody(PROVIDERS, rest, filter(None, names))}")
            continue
        key = rest.removeprefix(f"{name}__")
        for place, each in enumerate(names):
            if each == name:
                entries[place][key] = decode(fields.get(key), value)
                single[str(place), key] = source
    return Entries(tables=entries, problems=problems, whole=whole, single=single)


def client_entries(
    settings_cls: type[BaseModel],
    listed: object,
    secrets: Mapping[str, Mapping[str, str]],
    variables: Mapping[str, str],
) -> Entries:
    """Return the tables of clients, and what sets them; the arguments are as for providers.

    A table in a variable is joined with the file's. A variable cannot name all that a client may
    be called: there, what is no letter or digit is `_`, and capitals do not count.
    """
    text = variables.get(CLIENTS.upper())
    variable = f"{PREFIX}{CLIENTS.upper()}"
    given = {} if text is None else decode(settings_cls.model_fields[CLIENTS], text)
    tables: dict[str, dict[str, Any]] = {}
    single = {}
    for whole, rooms in ((IN_FILE[CLIENTS], listed or {}), (variable, given)):
        if not isinstance(rooms, dict) or not all(isinstance(t, dict) for t in rooms.values()):
            return Entries(tables=rooms, problems=[], whole=whole, single={})
        for name, table in rooms.items():
            tables.setdefault(name, {}).update(table)
            single.update({(name, key): whole for key in table})
    problems = []
    names = {spelled(name): name for name in tables}
    fields = room_fields(settings_cls, CLIENTS)
    for source, rest, value in _single_keys(CLIENTS, secrets, variables):
        spelt = _fitting(rest, names)
        if spelt is None:
            problems.append(f"{source}: {_explain_nobody(CLIENTS, rest, names)}")
            continue
        if len([name for name in tables if spelled(name) == spelt]) > 1:
            problems.append(f"{source}: several clients are spelt {spelt} here: use the file")
            continue
        key = rest.removeprefix(f"{spelt}__")
        tables[names[spelt]][key] = decode(fields.get(key), value)
        single[names[spelt], key] = source
    return Entries(tables=tables, problems=problems, whole=IN_FILE[CLIENTS], single=single)


def spelled(name: str) -> str:
    """Return how variables and secret files name a client."""
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _fitting(rest: str, names: Iterable[str]) -> str | None:
    """Return whose key this is; a name may have two underscores in it as well."""
    return max((each for each in names if rest.startswith(f"{each}__")), key=len, default=None)


def _explain_nobody(room: str, rest: str, names: Iterable[str]) -> str:
    known = list(names)
    if rest in known:
        return f"names no key of {rest}: one more `__` and the key are missing"
    there = f"those there are: {', '.join(known)}" if known else f"there is none in {IN_FILE[room]}"
    return f"there is no {_WORDS[room]} {rest.partition('__')[0]}; {there}"


def _single_keys(
    room: str, secrets: Mapping[str, Mapping[str, str]], variables: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield where a key is set, what follows `room__` there, and to what; the last wins."""
    for source, texts in (*secrets.items(), (PREFIX, variables)):
        for called, text in sorted(texts.items()):
            named, separator, rest = called.lower().partition("__")
            if named == room and separator:
                yield f"{source}{called}", rest, text


def _name(entry: object) -> str | None:
    """Return what an entry is called, without one it is its kind; None for what is no entry."""
    if not isinstance(entry, dict):
        return None
    name = entry.get("name", entry.get("kind", "openai"))
    return name if isinstance(name, str) else None
