"""What the documents say is what the program does."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from imgsvc.config import ALIASES, CONFIG_VARIABLE, PREFIX, Settings, load_settings
from imgsvc.config.names import API_KEY_VARIABLE
from imgsvc.config.sources import room_fields
from imgsvc.jobs import ClientConfig
from imgsvc.providers import Automatic1111Config, HuggingFaceConfig
from imgsvc.storage import FilesystemConfig, S3Config

ROOT = Path(__file__).parents[1]
EXAMPLE = (ROOT / "config.example.toml").read_text()
LEVELS = {"debug", "info", "warning", "error", "exception"}
NOT_FIXED = {
    "images.allowed": "heic only with its extra",
    "images.processes": "by the number of CPUs",
    "openai.models": "those that are known and not taken away yet",
    "providers": "there are none unless they are configured",
    "clients": "as providers",
}
KINDS_OF_PROVIDERS: dict[str, type[BaseModel]] = {
    "automatic1111": Automatic1111Config,
    "huggingface": HuggingFaceConfig,
}
"""Those with keys of their own; openai's are those of [openai]."""


def keys_of(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return every key of Settings, with the storage of this kind."""
    keys: dict[str, FieldInfo] = {}
    for room, field in Settings.model_fields.items():
        models = [
            model
            for model in get_args(field.annotation) or (field.annotation,)
            if get_origin(field.annotation) not in {list, dict}
            if isinstance(model, type) and issubclass(model, BaseModel)
        ]
        if not models:
            keys[room] = field
        model = kind if kind in models else next(iter(models), None)
        keys |= (
            {f"{room}.{key}": entry for key, entry in model.model_fields.items()} if model else {}
        )
    return keys


def example(kind: type[BaseModel]) -> str:
    """Return the example with every key switched on, and one of the storage tables."""
    text = re.sub(r"^#(?=[a-z\[])", "", EXAMPLE, flags=re.MULTILINE)
    tables = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    marker = f'kind = "{kind.model_fields["kind"].default}"'
    return "".join(
        table for table in tables if not table.startswith("[storage]") or marker in table
    )


def flat(table: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of an example with their values."""
    values: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict) and room_fields(Settings, name) and name != "clients":
            values |= {f"{name}.{key}": entry for key, entry in value.items()}
        else:
            values[name] = value
    return values


both_kinds = pytest.mark.parametrize("kind", [FilesystemConfig, S3Config])


@both_kinds
def test_the_example_has_every_key_and_no_other(kind: type[BaseModel]) -> None:
    assert set(flat(tomllib.loads(example(kind)))) == set(keys_of(kind))


@both_kinds
def test_the_example_shows_the_true_defaults(kind: type[BaseModel]) -> None:
    shown = flat(tomllib.loads(example(kind)))
    for key, field in keys_of(kind).items():
        if field.is_required() or field.default is None or key in NOT_FIXED:
            continue
        assert shown[key] == to_jsonable_python(field.default), key


@both_kinds
def test_the_example_loads_with_every_key_switched_on(
    kind: type[BaseModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    empty, file = tmp_path / "empty", tmp_path / "example.toml"
    empty.touch()
    text = example(kind).replace("/run/secrets", str(tmp_path))
    text = re.sub(r"(?m)^manager = .*$", "", text)  # nobody answers there
    file.write_text(
        re.sub(r"(?m)^(ca_file|deny_file|tls_cert|tls_key) = .*", rf'\1 = "{empty}"', text)
        # The storages of the example have no bucket of one name.
        .replace('buckets = ["input", "output"]', "buckets = []")
        .replace('buckets = ["input/shop/", "output/shop/"]', "buckets = []")
    )
    assert isinstance(load_settings(file).storage, kind)


def test_the_example_as_it_is_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(ROOT / "config.example.toml").model_dump() == load_settings().model_dump()


EXAMPLES = re.findall(
    r"```toml\n(.*?)```", (ROOT / "docs" / "providers.md").read_text(), flags=re.DOTALL
)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_providers_load(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imgsvc.toml").write_text(text)
    assert load_settings().model_dump() != load_settings(ROOT / "config.example.toml").model_dump()


def documented_keys() -> dict[tuple[str, str], tuple[set[str], str]]:
    """Return variables and default of each row, by storage kind ("" elsewhere) and key."""
    rows: dict[tuple[str, str], tuple[set[str], str]] = {}
    for section in (ROOT / "docs" / "configuration.md").read_text().split("\n### "):
        kind = re.search(r'^With `storage.kind = "(\w+)"`', section, re.MULTILINE)
        for row in re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \| .+ \|$", section, re.MULTILINE):
            key, variables, default = row
            place = kind[1] if kind else "", key
            rows[place] = set(re.findall(r"`(\w+)`", variables)), default.strip("`")
    return rows


@both_kinds
def test_every_key_is_documented_with_its_variables_and_its_default(kind: type[BaseModel]) -> None:
    rows = documented_keys()
    name = kind.model_fields["kind"].default
    for key, field in keys_of(kind).items():
        variables, default = rows[name if key.startswith("storage.") else "", key]
        own = {f"{PREFIX}{key.replace('.', '__').upper()}"}
        aliases = {alias for alias, target in ALIASES.items() if target == key}
        # The COS_ variables choose s3: they are no names for the keys of a folder.
        of_a_folder = kind is FilesystemConfig and key.startswith("storage.")
        assert variables == (own if of_a_folder else own | aliases)
        if field.is_required():
            assert default == "required"
        elif field.default is None:
            assert default == "not set"
        elif key not in NOT_FIXED and default != "the value of `storage.bucket":
            assert json.loads(default) == to_jsonable_python(field.default), key


def test_no_other_keys_are_documented() -> None:
    known = set(keys_of(FilesystemConfig)) | set(keys_of(S3Config))
    assert {key for _, key in documented_keys()} == known


def test_the_example_has_every_key_of_a_client() -> None:
    [shown] = tomllib.loads(example(FilesystemConfig))["clients"].values()
    assert set(shown) == set(ClientConfig.model_fields)


def test_every_key_of_a_client_is_documented() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    (section,) = (part for part in page.split("\n### ") if part.startswith("clients\n"))
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", section, re.MULTILINE))
    assert rows == {
        key: "not set" if field.default is None else f"`{json.dumps(field.default)}`"
        for key, field in ClientConfig.model_fields.items()
    }


every_kind_of_provider = pytest.mark.parametrize("provider", KINDS_OF_PROVIDERS, ids=str)


@every_kind_of_provider
def test_the_example_has_every_key_of_a_kind_of_provider_with_its_default(provider: str) -> None:
    entries = tomllib.loads(example(FilesystemConfig))["providers"]
    (shown,) = (entry for entry in entries if entry["kind"] == provider)
    fields = KINDS_OF_PROVIDERS[provider].model_fields
    assert set(shown) == set(fields)
    for key, field in fields.items():
        if not field.is_required() and field.default is not None:
            assert shown[key] == to_jsonable_python(field.default), key


@every_kind_of_provider
def test_every_key_of_a_kind_of_provider_is_documented_with_its_default(provider: str) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    (section,) = (
        part
        for part in page.split("\n### ")
        if f'An entry of `[[providers]]` with `kind = "{provider}"`' in part
    )
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", section, re.MULTILINE))
    fields = KINDS_OF_PROVIDERS[provider].model_fields
    assert set(rows) == set(fields)
    for key, field in fields.items():
        if field.is_required():
            assert rows[key] == "required"
        elif field.default is None:
            assert rows[key] == "not set"
        else:
            assert json.loads(rows[key].strip("`")) == to_jsonable_python(field.default), key


def test_the_configurations_in_the_page_on_providers_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "providers.md").read_text()
    examples = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shown = set()
    for text in examples:
        (tmp_path / "example.toml").write_text(text)
        shown |= {entry.kind for entry in load_settings(tmp_path / "example.toml").providers}
    assert shown >= set(KINDS_OF_PROVIDERS)


def events_of_the_program() -> Iterator[tuple[str, set[str]]]:
    """Yield event name and fields of every call of a logger."""
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                called = ast.unparse(node.func)
                if called == "write" or re.fullmatch(rf"_?log\.({'|'.join(LEVELS)})", called):
                    assert isinstance(node.args[0], ast.Constant), f"{file}:{node.lineno}"
                    yield str(node.args[0].value), {k.arg for k in node.keywords if k.arg}


def test_every_event_is_documented_with_its_fields() -> None:
    page = (ROOT / "docs" / "logs.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|([^|]*)\| [^|]+ \|$", page, re.MULTILINE)
    documented = {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}
    assert len(documented) == len(rows), "an event is there twice"
    found = list(events_of_the_program())
    for event, fields in found:
        assert event in documented
        assert fields - {"exc_info"} <= documented[event], event
    assert set(documented) == {event for event, _ in found}


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_in_the_documents_exist(page: Path) -> None:
    keys = set(keys_of(FilesystemConfig)) | set(keys_of(S3Config))
    known = {f"{PREFIX}{key.replace('.', '__').upper()}" for key in keys}
    known |= {CONFIG_VARIABLE, API_KEY_VARIABLE}
    of_entries = "|".join(
        rf"{room}__\w+__(KEY|{'|'.join(room_fields(Settings, room))})"
        for room in ("providers", "clients")
    )
    entry = re.compile(rf"{PREFIX}({of_entries})".replace("\\w", "[a-z0-9_]"), re.IGNORECASE)
    counterexamples = {"IMGSVC_ROOM__KEY", "IMGSVC_SERVER__PROT"}
    named = set(re.findall(r"\bIMGSVC_\w+", page.read_text())) - counterexamples
    # `IMGSVC_STORAGE__` is a beginning that the text goes on to complete.
    assert {
        name
        for name in named - known
        if not entry.fullmatch(name)
        if not (name.endswith("__") and any(other.startswith(name) for other in known))
    } == set()


def test_the_configuration_that_opens_the_server_to_others_loads_and_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    recipe = page.partition("## Open it to others\n")[2].partition("\n## ")[0]
    (text,) = re.findall(r"^    ```toml\n(.*?)^    ```$", recipe, re.MULTILINE | re.DOTALL)
    (tmp_path / "secrets").mkdir()
    file = tmp_path / "imgsvc.toml"
    file.write_text(re.sub(r"/(etc|var/lib|var/log)/imgsvc", str(tmp_path), text))
    monkeypatch.chdir(tmp_path)
    settings = load_settings(file)
    settings.check_authentication()
    assert not settings.server.is_loopback
