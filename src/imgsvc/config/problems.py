"""What is wrong with the configuration, in plain words."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import orjson
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from imgsvc.config.entries import IN_FILE, PROVIDERS, Entries, spelled
from imgsvc.config.names import ALIASES, PREFIX, our_variables
from imgsvc.config.sources import Layers, room_fields
from imgsvc.findings import in_plain_words
from imgsvc.providers import Model

_KINDS_BEHIND = {"storage": 1, PROVIDERS: 2}
"""How far into a path the table is of which there are several kinds: [[providers]] is a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origins:
    """What settings were read from, besides the environment."""

    layers: Layers
    entries: Mapping[str, Entries]  # of rooms that have several tables

    def of(self, path: list[str]) -> str:
        """Return what sets the key that a path leads to: `set by PORT`, `set in imgsvc.toml`."""
        if path[0] in self.entries:
            source = self.entries[path[0]].source(path)
            return f"set {'in' if source == IN_FILE[path[0]] else 'by'} {source}"
        names = _names(path)
        for name in reversed(names):  # its own has precedence over aliases
            if name.removeprefix(PREFIX) in our_variables() or os.environ.get(name):
                return f"set by {name}"
        if secret := self._secret(path):
            return f"set by {secret[0]}"
        room = self.layers.table.get(path[0])
        if len(path) == 1 or (isinstance(room, dict) and path[1] in room):
            return f"set in {self.layers.file}"
        return f"also {' or '.join(names)}"

    def text(self, path: list[str]) -> str | None:
        """Return the text that a variable or a secret sets a key to."""
        name = self.of(path).removeprefix("set by ")
        if (text := our_variables().get(name.removeprefix(PREFIX))) is not None:
            return text
        secret = self._secret(path)
        return secret[1] if secret and secret[0] == name else None

    def secrets_in(self, path: list[str]) -> list[str]:
        """Return the secrets that set a table, or something in it."""
        own = "__".join(path)
        return [
            f"{place}{name}"
            for place, texts in self.layers.secrets.items()
            for name in texts
            if f"{name.lower()}__".startswith(f"{own}__")
        ]

    def _secret(self, path: list[str]) -> tuple[str, str] | None:
        """Return where a secret sets the key that a path leads to, and its text."""
        wanted = "__".join(path[:2])
        found = [
            (f"{place}{name}", text)
            for place, texts in self.layers.secrets.items()
            for name, text in texts.items()
            if name.lower() == wanted
        ]
        return found[-1] if found else None


def misspelt_aliases() -> Iterator[str]:
    """Yield a line for each variable that looks like an alias and is none.

    Others may well begin alike, COS_API_KEY say: only near misses of unset ones count.
    """
    for variable in sorted(os.environ):
        if variable in ALIASES or not os.environ[variable]:
            continue
        family = variable.split("_")[0]
        unset = [a for a in ALIASES if a.split("_")[0] == family and not os.environ.get(a)]
        if near := get_close_matches(variable, unset, n=1, cutoff=0.87):
            yield f"{variable}: there is no such setting; did you mean {near[0]}?"


def explain(error: ErrorDetails, settings_cls: type[BaseModel], origins: Origins) -> str:
    """Return one of pydantic's findings in plain words, with the names to set."""
    path, kind = [str(part) for part in error["loc"]], ""
    if not path:  # two rooms do not go together, and it names their keys itself
        return error["msg"].removeprefix("Value error, ")
    table = _KINDS_BEHIND.get(path[0], len(path))
    if len(path) > table:
        kind = path.pop(table)  # the union of kinds puts it between the table and the key
    key = ".".join(_shown(path, origins))
    where = " or ".join(_names(_shown(path, origins)))
    what = f"{in_plain_words(error)} ({origins.of(path)})"
    match error["type"]:
        case "missing":
            return f"{key} is missing: {_explain_missing(path, where)}"
        case "extra_forbidden":
            return _explain_unknown(path, kind, settings_cls, origins)
        case "union_tag_invalid":
            key, what = f"{key}.kind", f"should be one of {error['ctx']['expected_tags']}"
        case "model_type" | "model_attributes_type":
            variables = f"in the environment {where}__KEY for each of its keys"
            entry = IN_FILE.get(path[0])
            what = f"should be a table, {variables if entry is None else f'as in {entry}'}"
        case "list_type" if path == [PROVIDERS] and isinstance(
            origins.layers.table.get(PROVIDERS), dict
        ):
            what = "write [[providers]], with two brackets: it is a list of tables"
        case "list_type" | "dict_type" if (text := origins.text(path)) is not None:
            shape = f"{in_plain_words(error)}, as JSON" if _is_json(text) else "is not JSON"
            what = f"{shape} ({origins.of(path)})"
    return f"{key}: {what}"


def _explain_missing(path: list[str], where: str) -> str:
    if "price" in path:
        return "a price needs text_input, image_input and output"
    is_key = path[0] == PROVIDERS and path[2:] == ["api_key"]
    which = ", to any word for a server that asks for none" if is_key else ""
    return f"set {where}{which}"


def _shown(path: list[str], origins: Origins) -> list[str]:
    """Return the path with the name of an entry of [[providers]] in place of its number."""
    if path[0] == PROVIDERS and len(path) > 1:
        called = origins.entries[PROVIDERS].called(path[1])
        return [PROVIDERS, called or path[1], *path[2:]]
    return path


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _explain_unknown(
    path: list[str], kind: str, settings_cls: type[BaseModel], origins: Origins
) -> str:
    names = tuple(_names(path))
    own = re.escape(names[-1])
    given = [v for v in sorted(os.environ) if v in names or re.match(f"{own}(__|$)", v.upper())]
    given += origins.secrets_in(path)
    if path[0] in origins.entries:
        source = origins.entries[path[0]].source(path)
        given = [] if source == IN_FILE[path[0]] else [source]
    known = set(_keys_beside(path, settings_cls))
    path = _shown(path, origins)
    key = ".".join(path)
    called = f"{key} ({', '.join(given)})" if given else key
    if path[0] in _KINDS_BEHIND and path[-1] in known:
        table = ".".join(path[: _KINDS_BEHIND[path[0]]])
        return f"{called} does not go with {table}.kind = {kind}"
    near = get_close_matches(path[-1].lower(), known, n=1)
    meant = f"; did you mean {'.'.join([*path[:-1], *near])}?" if near else ""
    return f"{called}: there is no such setting{meant}"


def _keys_beside(path: list[str], settings_cls: type[BaseModel]) -> Iterable[str]:
    """Return the keys of the table that a path leads into, of all its kinds."""
    if len(path) == 1:
        return settings_cls.model_fields
    if "models" in path[:-1]:
        return Model.model_fields
    return room_fields(settings_cls, path[0])


def _names(path: list[str]) -> list[str]:
    """Return the environment variables that set a key: its aliases, then its own.

    What is deeper in the path is a place in a list or table.
    """
    aliases = [alias for alias, target in ALIASES.items() if target == ".".join(path[:2])]
    variable = "__".join(path[:2]).upper()
    if path[0] in IN_FILE:
        variable = path[0].upper()
        if len(path) > 2:
            is_place = path[0] == PROVIDERS and path[1].isdigit()
            entry = "NAME" if is_place else spelled(path[1]).upper()
            variable = f"{variable}__{entry}__{path[2].upper()}"
    return [*aliases, f"{PREFIX}{variable}"]
