"""Where settings come from, besides the TOML file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from imgsvc.config.names import ALIASES


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """What settings are composed of, besides the environment; secrets are texts by room__key."""

    file: Path | None
    table: Mapping[str, Any] = field(repr=False)  # what the file holds
    secrets_dir: Path | None = None
    files: Mapping[str, str] = field(default_factory=dict, repr=False)  # what secret files hold
    managed: Mapping[str, str] = field(default_factory=dict, repr=False)  # the same of a manager

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """All secrets by where they are, in words; the last one that has a key decides."""
        return {"the secret file ": self.files, "the secrets manager's entry ": self.managed}


class Source(PydanticBaseSettingsSource):
    """Hands over values that were read from somewhere, nested by room."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - an abstract method
        """Return the value of one field."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all values, unknown names too: the validation finds and names them."""
        return self._values


def read_aliases() -> dict[str, Any]:
    """Return what the aliases set, nested by room."""
    values: dict[str, Any] = {}
    for variable, key in ALIASES.items():
        if text := os.environ.get(variable):
            room, name = key.split(".")
            values.setdefault(room, {})[name] = text
    if "storage" in values:
        # Every COS_ variable speaks of a bucket: half of them must not mean a folder.
        values["storage"]["kind"] = "s3"
    return values


def nest(settings_cls: type[BaseModel], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return texts named room__key as a table of each room; lists and tables are JSON.

    Rooms of several tables are left out: see `entries`.
    """
    values: dict[str, Any] = {}
    for name, text in sorted(texts.items()):
        room, separator, key = name.lower().partition("__")
        if _takes_json(settings_cls.model_fields.get(room)):
            continue
        keys = room_fields(settings_cls, room)
        if not separator or (room in settings_cls.model_fields and not keys):
            values[name.lower()] = text
        elif isinstance(values.setdefault(room, {}), dict):
            values[room][key] = decode(keys.get(key), text)
    return values


def _takes_json(field: FieldInfo | None) -> bool:
    """Tell whether a field is a list or a table, if perhaps one that need not be set."""
    if field is None:
        return False
    annotations = (field.annotation, *get_args(field.annotation))
    return any(get_origin(each) in {list, dict} for each in annotations)


def decode(field: FieldInfo | None, text: str) -> Any:
    """Return the text as a value for this field: JSON for lists and tables, the text else."""
    if not _takes_json(field):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text  # the validation then says, among the other problems, that it is no list


def room_fields(settings_cls: type[BaseModel], room: str) -> dict[str, FieldInfo]:
    """Return the keys of a room, of all its kinds; none for what is not a room."""
    field = settings_cls.model_fields.get(room)
    return _fields_of(field.annotation) if field else {}


def _fields_of(annotation: object) -> dict[str, FieldInfo]:
    """Return the fields of all models that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return dict(annotation.model_fields)
    fields: dict[str, FieldInfo] = {}
    for part in get_args(annotation):
        fields |= _fields_of(part)
    return fields
