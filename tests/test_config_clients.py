"""Limits of clients: tables of the file, and keys from the environment and secret files."""

import json
from pathlib import Path

import pytest

from imgsvc.config import load_settings, secret_values
from standins.configuration import Environment, problems, secret_file, toml

OWN, OTHER = "whsec_" + "A" * 32, "whsec_" + "B" * 32
TWO = """
[limits]
requests_per_minute = 60

[clients.shop]
max_running_jobs = 2

[clients."https://issuer/App-1"]
buckets = ["input/app"]
"""


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


def secrets(client: str) -> list[str]:
    given = load_settings().clients[client].signing_secrets
    assert given is not None
    return [secret.get_secret_value() for secret in given]


def test_the_tables_of_the_file_are_read_as_they_stand() -> None:
    toml(TWO)
    settings = load_settings()
    assert settings.limits.requests_per_minute == 60
    assert settings.clients["shop"].max_running_jobs == 2
    assert settings.clients["https://issuer/App-1"].buckets == ["input/app/"]


def test_a_secret_of_a_client_comes_from_a_variable_or_a_secret_file(env: Environment) -> None:
    toml('secrets_dir = "secrets"\n' + TWO)
    secret_file("clients__shop__signing_secrets", json.dumps([OWN]))
    assert secrets("shop") == [OWN]
    env(IMGSVC_CLIENTS__SHOP__SIGNING_SECRETS=json.dumps([OTHER]))
    assert secrets("shop") == [OTHER]
    assert list(secret_values(load_settings())) == [OTHER]
    assert OTHER not in f"{load_settings()!r}{load_settings().model_dump_json()}"


def test_a_name_that_no_variable_can_have_is_spelt_with_underscores(env: Environment) -> None:
    toml(TWO)
    env(
        IMGSVC_CLIENTS__HTTPS___ISSUER_APP_1__DAY_USD="2.5",
        IMGSVC_CLIENTS__HTTPS___ISSUER_APP_1__MODELS='["local"]',
    )
    client = load_settings().clients["https://issuer/App-1"]
    assert (client.day_usd, client.models, client.buckets) == (2.5, ["local"], ["input/app/"])


def test_two_names_that_are_spelt_alike_are_not_taken_for_one_another(env: Environment) -> None:
    toml('[clients."a.b"]\n[clients.a_b]\n')
    env(IMGSVC_CLIENTS__A_B__DAY_USD="1")
    assert problems() == [
        "IMGSVC_CLIENTS__A_B__DAY_USD: several clients are spelt a_b here: use the file"
    ]


def test_all_tables_can_be_a_variable_which_is_joined_with_the_file(env: Environment) -> None:
    toml(TWO)
    env(IMGSVC_CLIENTS='{"shop": {"day_usd": 3}, "new": {"max_queued_jobs": 4}}')
    clients = load_settings().clients
    assert (clients["shop"].day_usd, clients["shop"].max_running_jobs) == (3, 2)
    assert clients["new"].max_queued_jobs == 4
    assert "https://issuer/App-1" in clients


def test_limits_of_all_come_from_variables_like_any_setting(env: Environment) -> None:
    env(IMGSVC_LIMITS__MAX_PRIORITY="0", IMGSVC_LIMITS__CALLBACK_HOSTS='["Hooks.Example."]')
    limits = load_settings().limits
    assert (limits.max_priority, limits.callback_hosts) == (0, ["hooks.example"])


def test_a_client_that_nobody_knows_is_refused_with_those_there_are(env: Environment) -> None:
    env(IMGSVC_CLIENTS__SHOP__DAY_USD="1")
    none = "there is no client shop; there is none in [clients.NAME]"
    assert problems() == [f"IMGSVC_CLIENTS__SHOP__DAY_USD: {none}"]
    toml("[clients.shop]\n[clients.other]\n")
    env(IMGSVC_CLIENTS__SHO__DAY_USD="1", IMGSVC_CLIENTS__OTHER="x")
    assert problems() == [
        "IMGSVC_CLIENTS__OTHER: names no key of other: one more `__` and the key are missing",
        "IMGSVC_CLIENTS__SHO__DAY_USD: there is no client sho; those there are: shop, other",
    ]


def test_a_misspelt_or_wrong_key_is_named_with_what_sets_it(env: Environment) -> None:
    toml("[clients.shop]\nmax_runing_jobs = 2\nmax_priority = 10\n")
    env(
        IMGSVC_CLIENTS__SHOP__DAY_USD="x",
        IMGSVC_CLIENTS__SHOP__SIGNING_SECRETS='["whsec_short"]',
        IMGSVC_CLIENTS__SHOP__BUCKETS="input",
        IMGSVC_LIMITS__REQUESTS_PER_MINUTE="0",
    )
    found = sorted(problems())
    assert found == [
        "clients.shop.buckets: is not JSON (set by IMGSVC_CLIENTS__SHOP__BUCKETS)",
        "clients.shop.day_usd: should be a number (set by IMGSVC_CLIENTS__SHOP__DAY_USD)",
        "clients.shop.max_priority: should be 9 at most (set in [clients.NAME])",
        (
            "clients.shop.max_runing_jobs: there is no such setting; did you mean"
            " clients.shop.max_running_jobs?"
        ),
        (
            "clients.shop.signing_secrets.0: what follows whsec_ is not base64"
            " (set by IMGSVC_CLIENTS__SHOP__SIGNING_SECRETS)"
        ),
        (
            "limits.requests_per_minute: should be 1 at least"
            " (set by IMGSVC_LIMITS__REQUESTS_PER_MINUTE)"
        ),
    ]


@pytest.mark.parametrize("text", ["[", "[]", "1", '{"shop": 1}'])
def test_a_variable_that_holds_no_tables_is_told_so(env: Environment, text: str) -> None:
    env(IMGSVC_CLIENTS=text)
    [problem] = problems()
    assert problem.startswith("clients")
    assert "(set by IMGSVC_CLIENTS)" in problem or "as in [clients.NAME]" in problem


def test_a_bucket_or_model_that_nobody_has_is_refused() -> None:
    toml('[clients.shop]\nbuckets = ["inputs/x"]\n')
    [problem] = problems()
    assert problem == (
        "clients.shop.buckets: the storage does not use inputs; add it to storage.allow_buckets,"
        " or correct the name"
    )
    toml('[openai]\napi_key = "k"\n[limits]\nmodels = ["gpt-image-2", "openai", "gpt-imago"]\n')
    assert problems() == ["limits.models: no image API offers gpt-imago"]
    toml('[limits]\nmodels = ["gpt-imago"]\n')  # there is no image API that could offer it
    assert load_settings().limits.models == ["gpt-imago"]


def test_dollars_of_one_client_are_a_budget_that_models_without_a_price_do_not_fit() -> None:
    api = '[openai]\napi_key = "k"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "mine"\n'
    toml(api)
    assert load_settings().unpriced_models == []
    toml(f"{api}[clients.shop]\nday_usd = 1\n")
    assert [model.name for _, model in load_settings().unpriced_models] == ["mine"]
