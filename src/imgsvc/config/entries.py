"""The entries of [[providers]]: a list, and keys of single entries from elsewhere.

A key must not stand in the file if it is a secret. So `providers__NAME__KEY`, as a
variable or a secret file, sets the one key of the entry that is called NAME.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from imgsvc.config.names import PREFIX
from imgsvc.config.sources import decode, room_fields
from imgsvc.providers.base import NAME_PATTERN

ROOM = "providers"
IN_FILE = "[[providers]]"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderEntries:
    """The entries with all keys that were set from elsewhere."""

    tables: Any  # what is no list of tables stays as it is: the validation says so
    problems: list[str]  # what is wrong with keys that were set from elsewhere
    whole: str  # what sets the list: IN_FILE, or a variable
    single: Mapping[tuple[str, str], str]  # what sets keys alone, by place in the list and key

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
    secrets: Mapping[str, str],
    variables: Mapping[str, str],
) -> ProviderEntries:
    """Return the entries, and what sets them.

    `listed` are those of the file, or None. `secrets` are the secret files, `variables` those
    of the environment, by what follows the prefix.
    """
    text = variables.get(ROOM.upper())
    entries = listed if text is None else decode(settings_cls.model_fields[ROOM], text)
    whole = IN_FILE if text is None else f"{PREFIX}{ROOM.upper()}"
    if entries is None:
        entries = []
    if not isinstance(entries, list):
        return ProviderEntries(tables=entries, problems=[], whole=whole, single={})
    entries = [dict(each) if isinstance(each, dict) else each for each in entries]
    names = [_name(each) for each in entries]
    problems = []
    single = {}
    fields = room_fields(settings_cls, ROOM)
    for source, rest, text in _single_keys(secrets, variables):
        # A name may have two underscores in it as well.
        fitting = [each for each in names if each is not None and rest.startswith(f"{each}__")]
        name = max(fitting, key=len, default=None)
        if name is None:
            problems.append(f"{source}: {_explain_nobody(rest, names)}")
            continue
        key = rest.removeprefix(f"{name}__")
        for place, each in enumerate(names):
            if each == name:
                entries[place][key] = decode(fields.get(key), text)
                single[str(place), key] = source
    return ProviderEntries(tables=entries, problems=problems, whole=whole, single=single)


def _explain_nobody(rest: str, names: Sequence[str | None]) -> str:
    if rest in names:
        return f"names no key of {rest}: one more `__` and the key are missing"
    listed = ", ".join(filter(None, names))
    known = f"those there are: {listed}" if listed else "there is none in [[providers]]"
    return f"there is no provider {rest.partition('__')[0]}; {known}"


def _single_keys(
    secrets: Mapping[str, str], variables: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield where a key is set, what follows `providers__` there, and to what; the last wins."""
    for source, texts in (("the secret file ", secrets), (PREFIX, variables)):
        for called, text in sorted(texts.items()):
            room, separator, rest = called.lower().partition("__")
            if room == ROOM and separator:
                yield f"{source}{called}", rest, text


def _name(entry: object) -> str | None:
    """Return what an entry is called, without one it is its kind; None for what is no entry."""
    if not isinstance(entry, dict):
        return None
    name = entry.get("name", entry.get("kind", "openai"))
    return name if isinstance(name, str) else None
