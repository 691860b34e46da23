"""The whole configuration: the rooms' own parts, composed.

Environment over secrets manager over secret files over the TOML file over defaults. Every key
is `IMGSVC_ROOM__KEY` in the environment; names from before are aliases.

Secrets are replaced while the server runs, see `rotation`: who uses one asks its part of the
configuration at each use, and keeps no copy.
"""

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from imgsvc.callbacks import CallbacksConfig, EgressConfig, EgressPolicy, proxy_secrets
from imgsvc.config.entries import CLIENTS, PROVIDERS, client_entries, provider_entries
from imgsvc.config.managed import read_manager
from imgsvc.config.names import ALIASES, CONFIG_VARIABLE, PREFIX, our_variables
from imgsvc.config.problems import Origins, explain, misspelt_aliases
from imgsvc.config.sources import Layers, Source, nest, read_aliases
from imgsvc.errors import ConfigurationError
from imgsvc.imaging.config import ImagesConfig
from imgsvc.jobs import (
    BackendConfig,
    BudgetsConfig,
    ClientConfig,
    FetchConfig,
    LimitsConfig,
    WorkersConfig,
)
from imgsvc.logs import LogsConfig
from imgsvc.providers import (
    LOCAL,
    ImageApiConfig,
    LocalConfig,
    Model,
    OpenAIConfig,
    PromptsConfig,
    ProviderChoice,
    RoutingConfig,
)
from imgsvc.secrets import SecretsConfig, read_secret_files
from imgsvc.storage import FilesystemConfig, S3Config, StorageConfig
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.config import ServerConfig

__all__ = ["ALIASES", "CONFIG_VARIABLE", "PREFIX", "Settings", "load_settings", "secret_values"]

DEFAULT_FILE = Path("imgsvc.toml")


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True)

    data_dir: Path = Field(
        Path("imgsvc-data"),
        description="Folder for what waits on disk; one process at a time uses it.",
    )
    secrets_dir: Path | None = Field(
        None, description="Folder of files named like `room__key` that hold secrets."
    )
    secrets: SecretsConfig = Field(default_factory=SecretsConfig)
    server: ServerConfig = Field(default_factory=ServerConfig)
    auth: AuthConfig = Field(default_factory=AuthConfig)
    workers: WorkersConfig = Field(default_factory=WorkersConfig)
    backend: BackendConfig = Field(default_factory=BackendConfig)
    images: ImagesConfig = Field(default_factory=ImagesConfig)
    image_url: FetchConfig = Field(default_factory=FetchConfig)
    openai: OpenAIConfig = Field(default_factory=OpenAIConfig)
    providers: list[ProviderChoice] = Field(
        default_factory=list,
        description="Further image APIs, in the order in which they step in for one another.",
    )
    routing: RoutingConfig = Field(default_factory=RoutingConfig)
    budgets: BudgetsConfig = Field(default_factory=BudgetsConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    clients: dict[str, ClientConfig] = Field(
        default_factory=dict,
        description="What single clients may have and do, by their names.",
    )
    local: LocalConfig = Field(default_factory=LocalConfig)
    prompts: PromptsConfig = Field(default_factory=PromptsConfig)
    storage: StorageConfig = Field(default_factory=FilesystemConfig)
    callbacks: CallbacksConfig = Field(default_factory=CallbacksConfig)
    egress: EgressConfig = Field(default_factory=EgressConfig)
    logs: LogsConfig = Field(default_factory=LogsConfig)

    _layers: Layers | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _choose_storage(cls, values: Any) -> Any:
        """Take s3 for the storage's kind where a key of its own is given."""
        storage = values.get("storage") if isinstance(values, dict) else None
        if isinstance(storage, dict) and "kind" not in storage:
            only_s3 = set(S3Config.model_fields) - set(FilesystemConfig.model_fields)
            kind = "s3" if only_s3 & set(storage) else "filesystem"
            return values | {"storage": storage | {"kind": kind}}
        return values

    @model_validator(mode="after")
    def _each_image_api_has_a_name_of_its_own(self) -> Self:
        names = [api.name for api in self.image_apis]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"several image APIs are called {', '.join(twice)}: give each another `name`, in"
                " [openai] or its entry of [[providers]]"
            )
        return self

    @model_validator(mode="after")
    def _moderation_has_a_key(self) -> Self:
        if self.prompts.moderation and self.openai.api_key is None:
            raise ValueError(
                "prompts.moderation is on without a key: set OPENAI_API_KEY or"
                " IMGSVC_OPENAI__API_KEY too, because a key in [[providers]] does not count, or"
                " switch it off"
            )
        return self

    @model_validator(mode="after")
    def _what_clients_are_held_to_is_there(self) -> Self:
        """Refuse names of buckets and models that nobody has: nothing would be allowed by them."""
        storage = self.storage
        buckets = {storage.input_bucket, storage.output_bucket, *storage.allow_buckets}
        models = self._model_names
        tables = {f"clients.{name}": own for name, own in self.clients.items()}
        for table, limits in {"limits": self.limits, **tables}.items():
            for place in limits.buckets or ():
                if (bucket := place.partition("/")[0]) not in buckets:
                    raise ValueError(
                        f"{table}.buckets: the storage does not use {bucket}; add it to"
                        " storage.allow_buckets, or correct the name"
                    )
            for model in limits.models or ():
                if models and model not in models:
                    raise ValueError(f"{table}.models: no image API offers {model}")
        return self

    @property
    def _model_names(self) -> set[str]:
        """What models can be asked for; nothing without an image API."""
        names = {LOCAL} if self.image_apis else set()
        for api in self.image_apis:
            names |= {api.name, *api.offered, *(f"{api.name}/{name}" for name in api.offered)}
        return names

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ends at the first wrong value
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - .env files are not read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - knows no rooms
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: the first one that has a key decides. Others follow, see compose."""
        return (
            init_settings,
            Source(settings_cls, nest(settings_cls, our_variables())),
            Source(settings_cls, read_aliases()),
        )

    @property
    def layers(self) -> Layers | None:
        """What they were composed of; None unless that was done by `compose`."""
        return self._layers

    @property
    def image_apis(self) -> list[ImageApiConfig]:
        """All image APIs in the order in which they are asked."""
        first = [] if self.openai.api_key is None else [self.openai]
        return [*first, *self.providers]

    def ending_models(self, today: date) -> list[tuple[str, Model]]:
        """Return the models that edit where none is named and end soon, with their providers."""
        defaults = [(api.name, next(iter(api.offered.values()))) for api in self.image_apis]
        return [(name, model) for name, model in defaults if model.ends_soon(today)]

    @property
    def unpriced_models(self) -> list[tuple[str, Model]]:
        """The models that are never called, with their providers: there is a budget, but no price.

        A request with a budget of its own does not count: it is not known here.
        """
        budgets = self.budgets
        of_clients = [client.day_usd for client in self.clients.values()]
        limits = [budgets.job_usd, budgets.client_day_usd, budgets.day_usd, *of_clients]
        if all(each is None for each in limits):
            return []
        offered = [(api.name, model) for api in self.image_apis for model in api.offered.values()]
        return [(name, model) for name, model in offered if not model.has_price]

    def check_authentication(self) -> None:
        """Raise ConfigurationError if anybody in the network could use the server by oversight."""
        if self.auth.mode is None and not self.server.is_loopback:
            problem = (
                f"auth.mode is not set, and server.host is {self.server.host}: anybody who can"
                ' reach the port could use the server. Set auth.mode = "api_key"'
                " (IMGSVC_AUTH__MODE) and make keys with `imgsvc keys create`; if something in"
                ' front of the server checks who calls, set auth.mode = "none"'
            )
            raise ConfigurationError([problem])

    @property
    def shows_keys(self) -> bool:
        """Whether keys and tokens of callers cross the network in clear text."""
        server = self.server
        return self.auth.is_on and not server.is_loopback and not server.over_tls

    def egress_policy(self, *, own_port: int) -> EgressPolicy:
        """Return where callbacks and image fetches of the server on this port may go.

        Loopback only while nobody but this machine can ask for it, and not through a
        proxy, whose loopback it would be. A mode, be it `none`, and a public URL tell that
        something in front of the server passes on what others ask for.
        """
        public_url = self.server.public_url
        is_private = self.server.is_private and self.auth.mode is None
        return EgressPolicy(
            allow_networks=tuple(self.callbacks.allow_networks),
            allow_hosts=frozenset(self.callbacks.allow_hosts),
            allow_loopback=is_private and self.egress.proxy is None,
            require_https=self.egress.require_https,
            ports=self.egress.port_ranges,
            own_port=own_port,
            public_url=None if public_url is None else URL(public_url),
            proxy=None if self.egress.proxy is None else self.egress.current_proxy,
        )


def load_settings(config_file: Path | None = None) -> Settings:
    """Read the configuration.

    The file is `config_file`, or what IMGSVC_CONFIG names, or ./imgsvc.toml if it is
    there. Raises ConfigurationError with every problem found, in plain words.
    """
    with _usable_paths():
        file = _find_file(config_file)
        table = read_table(file)
        folder = _find_secrets_dir(table)
        files = read_secret_files(folder) if folder else {}
    layers = Layers(file=file, table=table, secrets_dir=folder, files=files)
    return compose(replace(layers, managed=read_manager(Settings, layers)))


def compose(layers: Layers) -> Settings:
    """Return the settings that these and the environment make.

    Raises ConfigurationError with every problem found, in plain words.
    """

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *given: Any, **named: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                *super().settings_customise_sources(settings_cls, *given, **named),
                *(Source(cls, nest(cls, texts)) for texts in reversed([*layers.secrets.values()])),
                Source(cls, dict(layers.table)),
            )

    problems = list(misspelt_aliases())
    entries = {
        room: read(Settings, layers.table.get(room), layers.secrets, our_variables())
        for room, read in ((PROVIDERS, provider_entries), (CLIENTS, client_entries))
    }
    problems += [problem for each in entries.values() for problem in each.problems]
    try:
        with _usable_paths():
            settings = Loaded(**{room: each.tables for room, each in entries.items()})
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_input=False)
        origins = Origins(layers=layers, entries=entries)
        problems += [explain(error, Settings, origins) for error in found]
        raise ConfigurationError(problems) from exc
    if problems:
        raise ConfigurationError(problems)
    settings._layers = layers  # noqa: SLF001 - only who composes knows them
    return settings


@contextmanager
def _usable_paths() -> Iterator[None]:
    """Turn what the system says of a path, that it is too long say, into ConfigurationError."""
    try:
        yield
    except OSError as exc:
        problem = f"a path in the configuration cannot be used: {exc.strerror}"
        raise ConfigurationError([problem]) from exc


def secret_values(model: BaseModel) -> Iterator[str]:
    """Yield every secret in the configuration, as text; the proxy's also as it is sent."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        values = value.values() if isinstance(value, dict) else value
        for entry in values if isinstance(value, list | dict) else [value]:
            if isinstance(entry, SecretStr):
                yield entry.get_secret_value()
                if isinstance(model, EgressConfig):
                    yield from proxy_secrets(URL(entry.get_secret_value()))
            elif isinstance(entry, BaseModel):
                yield from secret_values(entry)


def _find_file(given: Path | None) -> Path | None:
    variable = os.environ.get(CONFIG_VARIABLE)
    named = given or (Path(variable) if variable else None)
    if named is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if not named.is_file():
        raise ConfigurationError([f"the configuration file {named} does not exist"])
    return named


def read_table(file: Path | None) -> dict[str, Any]:
    """Return what the file holds; nothing without a file."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigurationError([f"the file {file} cannot be read as TOML: {exc}"]) from exc


def _find_secrets_dir(table: dict[str, Any]) -> Path | None:
    """Return where secret files are: it must be known before the other keys are read."""
    named = our_variables().get("SECRETS_DIR") or table.get("secrets_dir")
    if not named:
        return None
    if not Path(str(named)).is_dir():
        raise ConfigurationError([f"secrets_dir: the folder {named} does not exist"])
    return Path(str(named))
