"""Where settings come from, and which storage they choose."""

import base64
import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from yarl import URL

from imgsvc.callbacks import EgressPolicy
from imgsvc.config import ALIASES, Settings, load_settings, secret_values
from imgsvc.storage import FilesystemConfig, S3Config
from standins.configuration import S3, Environment, problems, secret_file, toml

WHSEC = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


def value_of(settings: Settings, key: str) -> Any:
    room, name = key.split(".")
    value = getattr(getattr(settings, room), name)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


# -- where settings come from -----------------------------------------------------------


def test_without_any_configuration_it_is_a_local_demo() -> None:
    settings = load_settings()
    assert isinstance(settings.storage, FilesystemConfig)
    assert settings.openai.api_key is None
    assert settings.server.host == "127.0.0.1"
    assert settings.server.port == 8000
    assert settings.server.is_loopback
    assert settings.data_dir == Path("imgsvc-data")
    assert list(secret_values(settings)) == []


def test_each_source_gives_way_to_the_one_above_it(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().openai.model == "gpt-image-2"
    toml('secrets_dir = "secrets"\n[openai]\nmodel = "file"\nquality = "low"')
    Path("secrets").mkdir()
    assert load_settings().openai.model == "file"
    secret_file("openai__model", "secret file")
    assert load_settings().openai.model == "secret file"
    env(OPENAI_IMAGE_MODEL="alias")
    assert load_settings().openai.model == "alias"
    env(IMGSVC_OPENAI__MODEL="variable")
    assert load_settings().openai.model == "variable"
    assert load_settings().openai.quality == "low"
    monkeypatch.delenv("OPENAI_IMAGE_MODEL")
    assert load_settings().openai.model == "variable"


@pytest.mark.parametrize(
    ("alias", "text", "value"),
    [
        ("COS_ENDPOINT", "https://other.example.com", "https://other.example.com"),
        ("COS_REGION", "eu-de", "eu-de"),
        ("COS_BUCKET", "other", "other"),
        ("COS_ACCESS_KEY_ID", "other-id", "other-id"),
        ("COS_SECRET_ACCESS_KEY", "other-secret", "other-secret"),
        ("COS_PRESIGN_EXPIRES", "60", 60),
        ("COS_INPUT_BUCKET", "in", "in"),
        ("COS_OUTPUT_BUCKET", "out", "out"),
        ("COS_INPUT_PREFIX", "from/", "from/"),
        ("COS_OUTPUT_PREFIX", "to/", "to/"),
        ("OPENAI_API_KEY", "sk-1", "sk-1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1/v1", "http://127.0.0.1/v1"),
        ("OPENAI_IMAGE_MODEL", "gpt-image-3", "gpt-image-3"),
        ("OPENAI_IMAGE_QUALITY", "high", "high"),
        ("OPENAI_IMAGE_OUTPUT_FORMAT", "webp", "webp"),
        ("CALLBACK_TIMEOUT_SECONDS", "7.5", 7.5),
        ("MAX_CONCURRENT_JOBS", "3", 3),
        ("PORT", "9001", 9001),
    ],
)
def test_an_alias_reaches_its_key(env: Environment, alias: str, text: str, value: Any) -> None:
    env(**S3 | {"OPENAI_API_KEY": "sk-any"} | {alias: text})
    settings = load_settings()
    assert value_of(settings, ALIASES[alias]) == value
    assert isinstance(settings.storage, S3Config)


def test_every_alias_has_a_key() -> None:
    rooms = {"storage": S3Config} | {
        name: field.annotation for name, field in Settings.model_fields.items() if name != "storage"
    }
    for key in ALIASES.values():
        room, name = key.split(".")
        assert name in getattr(rooms[room], "model_fields", ())


def test_the_file_given_wins_over_the_one_named_over_the_one_that_lies_there(
    env: Environment,
) -> None:
    toml("server.port = 1")
    assert load_settings().server.port == 1
    env(IMGSVC_CONFIG=str(toml("server.port = 2", "named.toml")))
    assert load_settings().server.port == 2
    assert load_settings(toml("server.port = 3", "given.toml")).server.port == 3


def test_a_file_that_is_named_must_exist(env: Environment) -> None:
    assert problems(Path("gone.toml")) == ["the configuration file gone.toml does not exist"]
    env(IMGSVC_CONFIG="nowhere.toml")
    assert problems() == ["the configuration file nowhere.toml does not exist"]


def test_lists_and_tables_are_json_and_tables_are_joined(env: Environment) -> None:
    toml('[callbacks]\nallow_hosts = ["a"]\nrewrite = {"a:1" = "b:1"}')
    env(
        IMGSVC_CALLBACKS__ALLOW_HOSTS='["b", "c"]',
        IMGSVC_CALLBACKS__REWRITE='{"c": "d"}',
        IMGSVC_CALLBACKS__SCHEDULE="[0, 2.5]",
    )
    callbacks = load_settings().callbacks
    assert callbacks.allow_hosts == ["b", "c"]
    assert callbacks.rewrite == {"a:1": "b:1", "c": "d"}
    assert callbacks.schedule == [0, 2.5]


def test_empty_variables_count_as_not_set(env: Environment) -> None:
    toml("server.port = 1")
    env(
        **dict.fromkeys(ALIASES, ""),
        IMGSVC_SERVER__PORT="",
        IMGSVC_CONFIG="",
        IMGSVC_SECRETS_DIR="",
        COS_ENDPIONT="",
    )
    settings = load_settings()
    assert settings.server.port == 1
    assert isinstance(settings.storage, FilesystemConfig)


def test_names_of_variables_count_in_any_case_and_capitals_win(env: Environment) -> None:
    env(imgsvc_server__port="1", Imgsvc_Workers__Count="2")
    assert load_settings().server.port == 1
    assert load_settings().workers.count == 2
    env(IMGSVC_SERVER__PORT="3")
    assert load_settings().server.port == 3


# -- secrets ----------------------------------------------------------------------------


def test_secrets_come_from_files_without_the_newline_at_their_end(env: Environment) -> None:
    secret_file("openai__api_key", "sk-from-file\n")
    secret_file("callbacks__signing_secrets", json.dumps([WHSEC]) + "\n")
    secret_file("storage__region", "\n")
    secret_file("tls.key", "somebody else's")
    secret_file("README", "somebody else's")
    Path("secrets", ".git__keep").mkdir()
    env(IMGSVC_SECRETS_DIR="secrets")
    settings = load_settings()
    assert sorted(secret_values(settings)) == sorted(["sk-from-file", WHSEC])
    assert isinstance(settings.storage, FilesystemConfig)


def test_secrets_mounted_through_links_are_read() -> None:
    # As Kubernetes mounts them.
    Path("secrets/..2026").mkdir(parents=True)
    Path("secrets/..2026/openai__api_key").write_text("sk-mounted")
    Path("secrets/..data").symlink_to("..2026")
    Path("secrets/openai__api_key").symlink_to("..data/openai__api_key")
    toml('secrets_dir = "secrets"')
    assert list(secret_values(load_settings())) == ["sk-mounted"]


def test_a_folder_for_secrets_must_exist(env: Environment) -> None:
    env(IMGSVC_SECRETS_DIR="nowhere")
    assert problems() == ["secrets_dir: the folder nowhere does not exist"]


def test_a_secret_file_must_be_text(env: Environment) -> None:
    secret_file("openai__api_key", "")
    Path("secrets/openai__api_key").write_bytes(b"\xff\xfe")
    env(IMGSVC_SECRETS_DIR="secrets")
    assert problems() == ["the secret file secrets/openai__api_key cannot be read as text"]


def test_a_misspelt_secret_file_is_refused(env: Environment) -> None:
    secret_file("opneai__api_key", "sk-1")
    env(IMGSVC_SECRETS_DIR="secrets")
    assert problems() == [
        ("opneai (the secret file opneai__api_key): there is no such setting; did you mean openai?")
    ]


def test_every_secret_is_known_by_its_value(env: Environment) -> None:
    env(**S3, OPENAI_API_KEY="sk-1", IMGSVC_CALLBACKS__SIGNING_SECRETS=json.dumps([WHSEC] * 2))
    assert sorted(secret_values(load_settings())) == sorted(["key-secret", "sk-1", WHSEC, WHSEC])


# -- which storage ----------------------------------------------------------------------


def test_half_a_bucket_does_not_start_and_every_missing_variable_is_named(
    env: Environment,
) -> None:
    env(COS_ENDPOINT="https://s3.example.com")
    assert problems() == [
        "storage.bucket is missing: set COS_BUCKET or IMGSVC_STORAGE__BUCKET",
        "storage.access_key_id is missing: set COS_ACCESS_KEY_ID or IMGSVC_STORAGE__ACCESS_KEY_ID",
        (
            "storage.secret_access_key is missing: "
            "set COS_SECRET_ACCESS_KEY or IMGSVC_STORAGE__SECRET_ACCESS_KEY"
        ),
    ]


@pytest.mark.parametrize("alias", [alias for alias in ALIASES if alias.startswith("COS_")])
def test_any_one_cos_variable_means_a_bucket(env: Environment, alias: str) -> None:
    env(**{alias: "60"})
    found = problems()
    missing = {"COS_ENDPOINT", "COS_ACCESS_KEY_ID", "COS_SECRET_ACCESS_KEY"} - {alias}
    assert missing <= set(re.findall(r"set (COS_\w+)", " ".join(found)))


def test_keys_that_a_folder_has_too_do_not_mean_a_bucket(env: Environment) -> None:
    env(IMGSVC_STORAGE__INPUT_PREFIX="a/", IMGSVC_STORAGE__INPUT_BUCKET="b")
    assert isinstance(load_settings().storage, FilesystemConfig)


def test_cos_variables_win_over_a_folder_in_the_file(env: Environment) -> None:
    toml('[storage]\nkind = "filesystem"\noutput_prefix = "here/"')
    env(**S3)
    storage = load_settings().storage
    assert isinstance(storage, S3Config)
    assert storage.output_prefix == "here/"


def test_a_bucket_is_made_of_file_secret_files_and_variables(env: Environment) -> None:
    toml('secrets_dir = "secrets"\n[storage]\nendpoint = "https://s3.example.com"\nbucket = "b"')
    secret_file("storage__secret_access_key", "key-secret")
    env(IMGSVC_STORAGE__ACCESS_KEY_ID="id")
    assert isinstance(load_settings().storage, S3Config)


def test_keys_of_both_storages_do_not_go_together(env: Environment) -> None:
    toml('[storage]\nfolder = "files"')
    env(**S3)
    assert problems() == ["storage.folder does not go with storage.kind = s3"]
    toml("")
    env(IMGSVC_STORAGE__KIND="filesystem")
    assert "storage.endpoint (COS_ENDPOINT) does not go with storage.kind = filesystem" in (
        problems()
    )


def test_an_unknown_kind_of_storage_is_refused_with_those_there_are(env: Environment) -> None:
    env(IMGSVC_STORAGE__KIND="ftp")
    assert problems() == ["storage.kind: should be one of 's3', 'filesystem'"]


# -- where requests may go --------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "allowed"),
    [
        ({}, True),
        ({"SERVER__HOST": "::1"}, True),
        ({"SERVER__HOST": "localhost"}, True),
        ({"SERVER__HOST": "0.0.0.0"}, False),  # noqa: S104 - to see that it counts as open
        ({"SERVER__PUBLIC_URL": "http://127.0.0.1:8000/images"}, True),
        ({"SERVER__PUBLIC_URL": "http://[::1]:8000"}, True),
        ({"SERVER__PUBLIC_URL": "http://localhost"}, True),
        ({"SERVER__PUBLIC_URL": "https://images.example.com"}, False),
        ({"SERVER__PUBLIC_URL": "http://localhost.example.com"}, False),
        ({"SERVER__PUBLIC_URL": "http://10.0.0.1:8000"}, False),
        ({"SERVER__HOST": "0.0.0.0", "SERVER__PUBLIC_URL": "http://127.0.0.1"}, False),  # noqa: S104
        ({"AUTH__MODE": "api_key"}, False),
        ({"AUTH__MODE": "none"}, False),  # what is in front of the server passes requests on
    ],
)
def test_loopback_may_be_called_only_while_nobody_but_this_machine_can_ask_for_it(
    env: Environment, variables: dict[str, str], *, allowed: bool
) -> None:
    env(
        **{f"IMGSVC_{name}": value for name, value in variables.items()},
        IMGSVC_CALLBACKS__ALLOW_NETWORKS='["10.0.0.0/8"]',
        IMGSVC_CALLBACKS__ALLOW_HOSTS='["Hooks.Example"]',
    )
    egress = load_settings().egress_policy(own_port=8000)
    assert egress.allow_loopback is allowed
    assert egress.allow_networks == (ip_network("10.0.0.0/8"),)
    assert egress.allow_hosts == {"hooks.example"}


def test_the_rules_of_egress_reach_the_policy(env: Environment) -> None:
    env(
        IMGSVC_EGRESS__REQUIRE_HTTPS="true",
        IMGSVC_EGRESS__PORTS='[443, "8000-8999"]',
        IMGSVC_EGRESS__PROXY="http://imgsvc:canary@proxy.internal:3128",
        IMGSVC_SERVER__PUBLIC_URL="https://images.example.com",
    )
    settings = load_settings()
    policy = settings.egress_policy(own_port=8000)
    assert policy.require_https
    assert policy.ports == (range(443, 444), range(8000, 9000))
    assert (policy.own_port, policy.public_url) == (8000, URL("https://images.example.com"))
    assert policy.proxy is not None
    assert not policy.allow_loopback  # it would be the proxy's
    sent = base64.b64encode(b"imgsvc:canary").decode()
    url, *parts = secret_values(settings)
    assert url == "http://imgsvc:canary@proxy.internal:3128"
    assert set(parts) == {"canary", sent}  # so that the log is cleaned of them, too
    assert "canary" not in f"{settings!r} {settings.model_dump_json()} {policy!r}"


def test_without_settings_a_policy_is_as_strict_as_the_guard_by_itself(env: Environment) -> None:
    env()
    policy = load_settings().egress_policy(own_port=8000)
    assert policy == EgressPolicy(allow_loopback=True, own_port=8000)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("0", "ports are from 1 to 65535, the lower one first"),
        ("65536", "ports are from 1 to 65535, the lower one first"),
        ("90-80", "ports are from 1 to 65535, the lower one first"),
        ("http", 'write a port as 443, or a range of them as "1024-65535"'),
        ("80:90", 'write a port as 443, or a range of them as "1024-65535"'),
        ("-1", 'write a port as 443, or a range of them as "1024-65535"'),
        ("\uff18\uff10", 'write a port as 443, or a range of them as "1024-65535"'),
    ],
)
def test_a_port_that_is_none_is_explained(env: Environment, entry: str, message: str) -> None:
    env(IMGSVC_EGRESS__PORTS=json.dumps([443, entry]))
    [problem] = problems()
    assert problem.startswith("egress.ports")
    assert message in problem


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy.internal:3128",
        "//user:canary@proxy.internal:3128",
        "http://user:canary@proxy.internal",
        "http://user:canary@:3128",
        "http://user:canary@proxy.internal:99999",
        "http://user:canary@proxy.internal:port",
        "http://user:canary@[::1:3128",
        "http://user:canary@proxy.internal:3128/path",
        "http://user:canary@proxy.internal:3128?x=1",
        "http://us%3Aer:canary@proxy.internal:3128",
        "http://user:canary@proxy.internal:0",
        "http://user:canary@proxy internal:3128",
        "http://user:canary@proxy.internal:3128#x",
        "socks5://user:canary@proxy.internal:1080",
        "canary",
    ],
)
def test_a_proxy_that_is_none_is_explained_without_its_password(
    env: Environment, proxy: str
) -> None:
    env(IMGSVC_EGRESS__PROXY=proxy)
    [problem] = problems()
    assert problem == (
        "egress.proxy: write the proxy as http://user:password@proxy.internal:3128"
        " (set by IMGSVC_EGRESS__PROXY)"
    )


# -- where the links lead ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "nowhere"),
    [
        ({}, False),
        ({"IMGSVC_SERVER__HOST": "images.internal"}, False),
        ({"IMGSVC_SERVER__HOST": "0.0.0.0"}, True),  # noqa: S104 - which no caller reaches
        ({"IMGSVC_SERVER__HOST": "::"}, True),
        ({"IMGSVC_SERVER__HOST": "0.0.0.0", "IMGSVC_SERVER__PUBLIC_URL": "http://a.b"}, False),  # noqa: S104
    ],
)
def test_links_to_any_address_lead_nowhere_unless_a_url_is_given(
    env: Environment, variables: dict[str, str], *, nowhere: bool
) -> None:
    env(**variables)
    assert load_settings().server.links_lead_nowhere is nowhere
