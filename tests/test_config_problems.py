"""What is said about a configuration that cannot be used."""

import json
import re
import traceback
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.config import Settings, load_settings
from imgsvc.errors import ConfigurationError
from imgsvc.storage import S3Config
from standins.configuration import S3, Environment, problems, secret_file, toml


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


# -- misspelt names ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sever = {}", "sever: there is no such setting; did you mean server?"),
        ("datadir = 1", "datadir: there is no such setting; did you mean data_dir?"),
        (
            "server.prot = 1",
            "server.prot: there is no such setting; did you mean server.port?",
        ),
        (
            'storage.endpiont = "x"',
            "storage.endpiont: there is no such setting; did you mean storage.endpoint?",
        ),
        (
            'storage.fodler = "x"',
            "storage.fodler: there is no such setting; did you mean storage.folder?",
        ),
        ("zzz = 1", "zzz: there is no such setting"),
    ],
)
def test_a_misspelt_key_in_the_file_is_refused(text: str, problem: str) -> None:
    toml(text)
    assert problems() == [problem]


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        (
            "IMGSVC_SEVER__PORT",
            "sever (IMGSVC_SEVER__PORT): there is no such setting; did you mean server?",
        ),
        (
            "imgsvc_sever__port",
            "sever (imgsvc_sever__port): there is no such setting; did you mean server?",
        ),
        (
            "IMGSVC_SERVER__PROT",
            (
                "server.prot (IMGSVC_SERVER__PROT): there is no such setting; "
                "did you mean server.port?"
            ),
        ),
        (
            "IMGSVC_SERVER_PORT",
            "server_port (IMGSVC_SERVER_PORT): there is no such setting; did you mean server?",
        ),
        (
            "IMGSVC_DATA_DIR__X",
            "data_dir__x (IMGSVC_DATA_DIR__X): there is no such setting; did you mean data_dir?",
        ),
        ("IMGSVC_PORT", "port (IMGSVC_PORT): there is no such setting"),
        ("COS_ENDPIONT", "COS_ENDPIONT: there is no such setting; did you mean COS_ENDPOINT?"),
        (
            "OPENAI_API_KYE",
            "OPENAI_API_KYE: there is no such setting; did you mean OPENAI_API_KEY?",
        ),
        (
            "OPENAI_IMAGE_MODELL",
            "OPENAI_IMAGE_MODELL: there is no such setting; did you mean OPENAI_IMAGE_MODEL?",
        ),
        (
            "MAX_CONCURENT_JOBS",
            "MAX_CONCURENT_JOBS: there is no such setting; did you mean MAX_CONCURRENT_JOBS?",
        ),
    ],
)
def test_a_misspelt_variable_is_refused(env: Environment, variable: str, problem: str) -> None:
    env(**{variable: "1"})
    assert problems() == [problem]


def test_variables_of_others_are_left_alone(env: Environment) -> None:
    others = (
        "COS_API_KEY COS_INSTANCE_ID COS_RESOURCE_INSTANCE_ID COS_BUCKET_NAME GCS_BUCKET "
        "OPENAI_ORG_ID OPENAI_PROJECT_ID OPENAI_API_BASE OPENAI_API_TYPE OPENAI_ADMIN_KEY "
        "OPENAI_LOG OPENAI_MODEL OPENAI_CUSTOM_HEADERS OPENAI_WEBHOOK_SECRET "
        "MAX_CONNECTIONS CALLBACK_URL PORTS IMGSVCX"
    )
    env(**dict.fromkeys(others.split(), "x"))
    assert load_settings().model_dump() == Settings().model_dump()


def test_what_kubernetes_says_about_a_service_called_imgsvc_is_left_alone(
    env: Environment,
) -> None:
    env(
        IMGSVC_SERVICE_HOST="10.0.0.1",
        IMGSVC_SERVICE_PORT="8000",
        IMGSVC_SERVICE_PORT_HTTP="8000",
        IMGSVC_PORT="tcp://10.0.0.1:8000",
        IMGSVC_PORT_8000_TCP="tcp://10.0.0.1:8000",
        IMGSVC_PORT_8000_TCP_PROTO="tcp",
        IMGSVC_PORT_8000_TCP_PORT="8000",
        IMGSVC_PORT_8000_TCP_ADDR="10.0.0.1",
    )
    assert load_settings().server.port == 8000


# -- wrong values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        (
            {"MAX_CONCURRENT_JOBS": "abc"},
            ("workers.count: should be a whole number (set by MAX_CONCURRENT_JOBS)"),
        ),
        (
            {"PORT": "70000"},
            ("server.port: should be 65535 at most (set by PORT)"),
        ),
        (
            {"IMGSVC_BACKEND__AUDIT_RETENTION": "2591999"},
            (
                "backend.audit_retention: should be 2592000 at least "
                "(set by IMGSVC_BACKEND__AUDIT_RETENTION)"
            ),
        ),
        (
            {"IMGSVC_SERVER__PUBLIC_URL": "images.example.com"},
            (
                "server.public_url: must be an absolute URL: https://images.example.com "
                "(set by IMGSVC_SERVER__PUBLIC_URL)"
            ),
        ),
        (
            {"IMGSVC_CALLBACKS__ALLOW_HOSTS": "a,b"},
            ("callbacks.allow_hosts: is not JSON (set by IMGSVC_CALLBACKS__ALLOW_HOSTS)"),
        ),
        (
            {"IMGSVC_CALLBACKS__REWRITE": "["},
            ("callbacks.rewrite: is not JSON (set by IMGSVC_CALLBACKS__REWRITE)"),
        ),
        (
            {"IMGSVC_CALLBACKS__SCHEDULE": "[0, -1]"},
            ("callbacks.schedule.1: should be 0 at least (set by IMGSVC_CALLBACKS__SCHEDULE)"),
        ),
        (
            {"IMGSVC_SERVER": "{}"},
            "server: should be a table, in the environment IMGSVC_SERVER__KEY for each of its keys",
        ),
    ],
)
def test_a_wrong_value_is_named_in_plain_words(
    env: Environment, variables: dict[str, str], problem: str
) -> None:
    env(**variables)
    assert problems() == [problem]


def test_a_secret_file_that_sets_nothing_is_named(env: Environment) -> None:
    env(IMGSVC_SECRETS_DIR="secrets")
    secret_file("foo__bar", "canary")
    secret_file("Openai__Modle", "canary")
    assert problems() == [
        (
            "openai.modle (the secret file Openai__Modle): there is no such setting;"
            " did you mean openai.model?"
        ),
        "foo (the secret file foo__bar): there is no such setting",
    ]


def test_a_wrong_value_is_told_with_what_really_sets_it(env: Environment) -> None:
    file = toml('secrets_dir = "secrets"\n[server]\nport = "x"\n[workers]\ncount = "x"')
    secret_file("backend__max_queued", "x")
    env(PORT="y")
    assert sorted(problems(file)) == [
        (
            "backend.max_queued: should be a whole number"
            " (set by the secret file backend__max_queued)"
        ),
        "server.port: should be a whole number (set by PORT)",
        "workers.count: should be a whole number (set in imgsvc.toml)",
    ]


def test_every_problem_is_listed(env: Environment) -> None:
    toml('zzz = 1\n[server]\nprot = 1\nbody_timeout = "x"')
    env(
        COS_ENDPIONT="https://s3.example.com",
        COS_BUCKET="b",
        IMGSVC_CALLBACKS__SCHEDULE="x",
        PORT="x",
    )
    found = problems()
    named = ["COS_ENDPIONT", "storage.endpoint", "storage.access_key_id"]
    named += ["storage.secret_access_key", "callbacks.schedule", "server.port", "server.prot"]
    named += ["server.body_timeout", "zzz"]
    assert sorted(re.split(r"[ :]", problem)[0] for problem in found) == sorted(named)


@pytest.mark.parametrize("content", [b"[server", b"a = 1\na = 2", b"\xff", b"port 8000"])
def test_a_file_that_is_not_toml_is_named(content: bytes) -> None:
    Path("imgsvc.toml").write_bytes(content)
    [problem] = problems()
    assert problem.startswith("the file imgsvc.toml cannot be read as TOML: ")


@pytest.mark.parametrize(
    "variable", ["IMGSVC_CONFIG", "IMGSVC_SECRETS_DIR", "IMGSVC_STORAGE__CA_FILE"]
)
def test_a_path_too_long_for_the_system_is_a_problem_like_others(
    env: Environment, variable: str
) -> None:
    env(**S3, **{variable: "x" * 5000})
    assert problems() == ["a path in the configuration cannot be used: File name too long"]


# -- prompts ----------------------------------------------------------------------------


def test_every_wrong_line_of_the_deny_list_is_named(env: Environment) -> None:
    Path("deny.txt").write_text("# weapons\n(gun\nknife\n[z-a]\n")
    env(IMGSVC_PROMPTS__DENY_FILE="deny.txt", PORT="http")
    assert len(problems()) == 2
    assert (
        "prompts.deny_file: line 2 of deny.txt: missing ): (gun; line 4 of deny.txt: invalid"
        " character class range: z-a (set by IMGSVC_PROMPTS__DENY_FILE)"
    ) in problems()


def test_a_deny_list_that_is_not_there_is_named(env: Environment) -> None:
    env(IMGSVC_PROMPTS__DENY_FILE="deny.txt")
    [problem] = problems()
    assert problem == (
        "prompts.deny_file: the file deny.txt cannot be read: No such file or directory"
        " (set by IMGSVC_PROMPTS__DENY_FILE)"
    )


def test_moderation_without_a_key_is_refused(env: Environment) -> None:
    env(IMGSVC_PROMPTS__MODERATION="true")
    [problem] = problems()
    assert problem == (
        "prompts.moderation is on without a key: set OPENAI_API_KEY or IMGSVC_OPENAI__API_KEY"
        " too, because a key in [[providers]] does not count, or switch it off"
    )
    env(OPENAI_API_KEY="sk-any")
    assert load_settings().prompts.moderation


# -- secrets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables",
    [
        {"IMGSVC_CALLBACKS__SIGNING_SECRETS": '["whsec_canary"]'},
        {"IMGSVC_CALLBACKS__SIGNING_SECRETS": "canary"},
        {"IMGSVC_CALLBACKS__SIGNING_SECRETS": '{"canary": "canary"}'},
        {"OPENAI_API_KEY": "canary with a space"},
        {"COS_SECRET_ACCESS_KEY": "canary"},
        {"IMGSVC_STORAGE": "canary"},
        {"IMGSVC_OPENAI": "canary"},
        {"PORT": "canary"},
        {"OPENAI_BASE_URL": "https://user:canary@example.com"},
        {"COS_ENDPOINT": "https://user:canary@example.com"},
        {"IMGSVC_STORAGE__SECRET_ACCESS_KEY": "canary", "IMGSVC_STORAGE__KIND": "filesystem"},
    ],
)
def test_wrong_values_are_not_repeated(env: Environment, variables: dict[str, str]) -> None:
    env(**variables)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        '[openai]\napi_key = "canary',
        "[openai]\napi_key = canary",
        '[openai]\napi_key = ["canary"]',
        '[openai]\napi_key = {canary = "canary"}',
        'openai = "canary"',
        '[callbacks]\nsigning_secrets = "canary"',
    ],
)
def test_wrong_values_of_the_file_are_not_repeated(text: str) -> None:
    toml(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "canary" not in str(caught.value)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


# -- whatever may come ------------------------------------------------------------------

KEYS = [
    f"{room}__{key}"
    for room in Settings.model_fields
    for key in (*S3Config.model_fields, "schedule", "rewrite", "signing_secrets", "host", "port")
]
NAMES = st.sampled_from(["CONFIG", *Settings.model_fields, *KEYS]) | st.text(
    st.characters(codec="utf-8", exclude_characters="=\0"), max_size=20
)
VALUES = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
    ).map(json.dumps)
    | st.sampled_from(["[" * 100_000, '{"a":' * 10_000, "9" * 5000, "nan", "inf", "\udcff"])
)


@given(variables=st.dictionaries(NAMES, VALUES, max_size=4))
def test_whatever_the_variables_hold_it_loads_or_says_what_is_wrong(
    variables: dict[str, str],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, text in variables.items():
            patch.setenv(f"IMGSVC_{name.upper()}", text)
        with suppress(ConfigurationError):
            load_settings()


def test_a_path_that_is_none_is_told_apart(env: Environment) -> None:
    env(IMGSVC_SECRETS__CA_FILE="x" * 5000)
    assert problems() == ["a path in the configuration cannot be used: File name too long"]


def test_a_server_without_a_key_is_half_configured(env: Environment) -> None:
    env(OPENAI_BASE_URL="http://127.0.0.1:8080/v1")
    assert any("OPENAI_API_KEY" in line for line in problems())


def test_an_endpoint_with_the_bucket_in_it_is_refused(env: Environment) -> None:
    env(**S3 | {"COS_ENDPOINT": f"https://s3.example.com/{S3['COS_BUCKET']}"})
    assert any("leave the bucket out" in line for line in problems())
