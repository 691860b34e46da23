"""What is wrong with the configuration, in plain words."""

import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from imgsvc.config.entries import IN_FILE, ROOM, ProviderEntries
from imgsvc.config.names import ALIASES, PREFIX
from imgsvc.config.sources import room_fields
from imgsvc.providers import Model

_KINDS_BEHIND = {"storage": 1, ROOM: 2}
"""How far into a path the table is of which there are several kinds: [[providers]] is a list."""


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


def explain(error: ErrorDetails, settings_cls: type[BaseModel], providers: ProviderEntries) -> str:
    """Return one of pydantic's findings in plain words, with the names to set."""
    path, kind = [str(part) for part in error["loc"]], ""
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not path:
        return message  # two rooms do not go together, and it names their keys itself
    table = _KINDS_BEHIND.get(path[0], len(path))
    if len(path) > table:
        kind = path.pop(table)  # the union of kinds puts it between the table and the key
    key = ".".join(path)
    where = " or ".join(_names(path))
    source = providers.source(path) if path[0] == ROOM else where
    match error["type"]:
        case "missing":
            is_key = path[0] == ROOM and path[2:] == ["api_key"]
            which = ", to any word for a server that asks for none" if is_key else ""
            return f"{key} is missing: set {where}{which}"
        case "extra_forbidden":
            return _explain_unknown(path, kind, settings_cls, source)
        case "union_tag_invalid":
            return f"{key}.kind: should be one of {error['ctx']['expected_tags']}"
        case "model_type" | "model_attributes_type":
            variables = f"in the environment {where}__KEY for each of its keys"
            how = "as in [[providers]]" if path[0] == ROOM else variables
            return f"{key}: should be a table, {how}"
        case "list_type" | "dict_type" if source != IN_FILE:
            source += ", as JSON"
    how = f"in {source}" if source == IN_FILE else f"by {source}"
    return f"{key}: {message[0].lower()}{message[1:]} (set {how})"


def _explain_unknown(path: list[str], kind: str, settings_cls: type[BaseModel], source: str) -> str:
    key, names = ".".join(path), tuple(_names(path))
    own = re.escape(names[-1])
    given = [v for v in sorted(os.environ) if v in names or re.match(f"{own}(__|$)", v.upper())]
    if path[0] == ROOM and source != IN_FILE:
        given = [source]
    called = f"{key} ({', '.join(given)})" if given else key
    known = set(_keys_beside(path, settings_cls))
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
    if path[0] == ROOM:
        variable = "PROVIDERS" if len(path) < 3 else f"PROVIDERS__NAME__{path[2].upper()}"
    return [*aliases, f"{PREFIX}{variable}"]
