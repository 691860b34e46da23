"""Entries of [[providers]] whose keys come from the environment and from secret files."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.config import Settings, load_settings, secret_values
from imgsvc.config.entries import provider_entries
from imgsvc.providers import Automatic1111Config, OpenAIConfig
from standins.configuration import Environment, problems, secret_file, toml

TWO = """
[[providers]]
name = "azure"
base_url = "https://a.openai.azure.com/openai/v1"

[[providers]]
kind = "automatic1111"
name = "gpu"
base_url = "http://127.0.0.1:7860"
models = ["a"]
"""


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


def keys() -> list[str]:
    """Return the keys of all image APIs of OpenAI's kind."""
    apis = [api for api in load_settings().image_apis if isinstance(api, OpenAIConfig)]
    return [api.api_key.get_secret_value() for api in apis if api.api_key is not None]


# -- the whole list ---------------------------------------------------------------------


def test_the_whole_list_can_be_a_variable_and_replaces_that_of_the_file(env: Environment) -> None:
    toml(TWO)
    env(IMGSVC_PROVIDERS=json.dumps([{"name": "other", "api_key": "k"}]))
    assert [api.name for api in load_settings().image_apis] == ["other"]


@pytest.mark.parametrize("text", ['{"name": "gpu"}', "1"])
def test_a_variable_that_is_no_list_is_told_so(env: Environment, text: str) -> None:
    env(IMGSVC_PROVIDERS=text)
    assert problems() == ["providers: should be a list, as JSON (set by IMGSVC_PROVIDERS)"]


@pytest.mark.parametrize("text", ["[", "gpu"])
def test_a_variable_that_is_no_json_is_told_so(env: Environment, text: str) -> None:
    env(IMGSVC_PROVIDERS=text)
    assert problems() == ["providers: is not JSON (set by IMGSVC_PROVIDERS)"]


# -- single keys ------------------------------------------------------------------------


def test_a_key_of_an_entry_comes_from_a_variable_or_a_secret_file(env: Environment) -> None:
    toml('secrets_dir = "secrets"' + TWO)
    secret_file("providers__azure__api_key", "key-of-a-file\n")
    secret_file("providers__gpu__password", "password-of-a-file")
    env(IMGSVC_PROVIDERS__GPU__USERNAME="user", IMGSVC_PROVIDERS__GPU__STEPS="7")
    azure, gpu = load_settings().providers
    assert keys() == ["key-of-a-file"]
    assert isinstance(gpu, Automatic1111Config)
    assert (gpu.username, gpu.steps) == ("user", 7)
    assert sorted(secret_values(load_settings())) == ["key-of-a-file", "password-of-a-file"]
    env(IMGSVC_PROVIDERS__AZURE__API_KEY="key-of-a-variable")
    assert keys() == ["key-of-a-variable"]
    assert azure.name == "azure"


def test_a_variable_has_precedence_over_the_file_and_the_list(env: Environment) -> None:
    env(
        IMGSVC_PROVIDERS=json.dumps([{"name": "one", "api_key": "k"}]),
        IMGSVC_PROVIDERS__ONE__API_KEY="other",
    )
    assert keys() == ["other"]


def test_lists_of_an_entry_are_json(env: Environment) -> None:
    toml(TWO)
    env(
        IMGSVC_PROVIDERS__AZURE__API_KEY="k",
        IMGSVC_PROVIDERS__AZURE__MODELS='["b", {"name": "c", "masks": false}]',
    )
    assert list(load_settings().providers[0].offered) == ["b", "c"]


def test_a_name_may_have_two_underscores_in_it(env: Environment) -> None:
    toml('[[providers]]\nname = "a"\napi_key = "k"\n[[providers]]\nname = "a__b"\n')
    env(IMGSVC_PROVIDERS__A__B__API_KEY="of b")
    [problem] = problems()
    assert problem == (
        "providers.a__b.api_key: may hold visible ASCII characters only"
        " (set by IMGSVC_PROVIDERS__A__B__API_KEY)"
    )
    env(IMGSVC_PROVIDERS__A__B__API_KEY="of-b")
    assert keys() == ["k", "of-b"]


def test_an_entry_without_a_name_is_called_like_its_kind(env: Environment) -> None:
    toml(TWO.replace('name = "gpu"\n', "").replace('name = "azure"\n', ""))
    env(
        IMGSVC_PROVIDERS__OPENAI__API_KEY="k",
        IMGSVC_PROVIDERS__AUTOMATIC1111__TIMEOUT="9",
    )
    assert [api.name for api in load_settings().providers] == ["openai", "automatic1111"]
    assert load_settings().providers[1].timeout == 9


# -- what is wrong ----------------------------------------------------------------------


def test_a_name_that_nobody_has_is_refused_with_those_there_are(env: Environment) -> None:
    toml(TWO)
    secret_file("providers__azur__api_key", "k")
    env(
        IMGSVC_SECRETS_DIR="secrets",
        IMGSVC_PROVIDERS__AZURE__API_KEY="k",
        IMGSVC_PROVIDERS__GUP__STEPS="9",
    )
    assert problems() == [
        (
            "the secret file providers__azur__api_key: there is no provider azur;"
            " those there are: azure, gpu"
        ),
        "IMGSVC_PROVIDERS__GUP__STEPS: there is no provider gup; those there are: azure, gpu",
    ]


def test_a_key_for_a_list_without_entries_says_so(env: Environment) -> None:
    env(IMGSVC_PROVIDERS__GPU__STEPS="9")
    assert problems() == [
        "IMGSVC_PROVIDERS__GPU__STEPS: there is no provider gpu; there is none in [[providers]]"
    ]


def test_a_variable_that_names_no_key_is_told_so(env: Environment) -> None:
    toml(TWO)
    env(IMGSVC_PROVIDERS__AZURE__API_KEY="k", IMGSVC_PROVIDERS__GPU="x")
    assert problems() == [
        "IMGSVC_PROVIDERS__GPU: names no key of gpu: one more `__` and the key are missing"
    ]


def test_every_problem_is_listed_together_with_the_others(env: Environment) -> None:
    env(IMGSVC_PROVIDERS__GPU__STEPS="9", IMGSVC_SERVER__PORT="x")
    assert len(problems()) == 2


def test_a_misspelt_key_is_named_with_its_variable(env: Environment) -> None:
    toml(TWO)
    env(IMGSVC_PROVIDERS__AZURE__API_KEY="k", IMGSVC_PROVIDERS__GPU__STEPZ="9")
    [problem] = problems()
    assert problem == (
        "providers.gpu.stepz (IMGSVC_PROVIDERS__GPU__STEPZ): there is no such setting;"
        " did you mean providers.gpu.steps?"
    )


WRONG = {
    "name": "one",
    "api_key": "two words",
    "timeout": "x",
    "models": 1,
    "stepz": 9,
}


def test_problems_of_a_list_in_the_environment_name_its_variable(env: Environment) -> None:
    env(IMGSVC_PROVIDERS=json.dumps([WRONG]))
    key, models, unknown, timeout = sorted(problems())
    assert key.startswith("providers.one.api_key: may hold")
    assert key.endswith("(set by IMGSVC_PROVIDERS)")
    assert models.endswith(": should be a list, as JSON (set by IMGSVC_PROVIDERS)")
    assert timeout.endswith(" (set by IMGSVC_PROVIDERS)")
    assert unknown.startswith("providers.one.stepz (IMGSVC_PROVIDERS): there is no such setting")


def test_problems_of_a_list_in_the_file_say_so() -> None:
    toml('[[providers]]\napi_key = "two words"\nmodels = 1\n')
    key, models = sorted(problems())
    assert key.endswith(" (set in [[providers]])")
    assert models == "providers.openai.models: should be a list (set in [[providers]])"


def test_problems_of_a_key_name_what_sets_it_and_not_where_the_list_is(env: Environment) -> None:
    secret_file("providers__one__api_key", "two words")
    env(
        IMGSVC_SECRETS_DIR="secrets",
        IMGSVC_PROVIDERS=json.dumps([{"name": "one"}]),
        IMGSVC_PROVIDERS__ONE__TIMEOUT="x",
    )
    key, timeout = sorted(problems())
    assert key.endswith(" (set by the secret file providers__one__api_key)")
    assert timeout.endswith(" (set by IMGSVC_PROVIDERS__ONE__TIMEOUT)")


def test_an_entry_without_a_key_is_told_how_to_set_one() -> None:
    toml(TWO)
    [problem] = problems()
    assert problem == (
        "providers.azure.api_key is missing: set IMGSVC_PROVIDERS__AZURE__API_KEY,"
        " to any word for a server that asks for none"
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[[providers]]\nname = "a"\napi_key = "k"\n' * 2, "a"),
        ('[openai]\napi_key = "k"\n[[providers]]\napi_key = "k"\n', "openai"),
        ('[openai]\napi_key = "k"\nname = "b"\n[[providers]]\nname = "b"\napi_key = "k"\n', "b"),
    ],
)
def test_two_image_apis_of_one_name_are_refused(text: str, name: str) -> None:
    toml(text)
    [problem] = problems()
    assert problem == (
        f"several image APIs are called {name}: give each another `name`, in [openai] or its"
        " entry of [[providers]]"
    )


def test_an_entry_may_be_called_openai_while_there_is_no_other() -> None:
    toml('[[providers]]\napi_key = "k"\n')
    assert [api.name for api in load_settings().image_apis] == ["openai"]


# -- models that end --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("today", "ending"),
    [
        (date(2026, 10, 1), []),
        (date(2026, 10, 31), []),
        (date(2026, 11, 1), [("openai", "gpt-image-1-mini")]),
        (date(2027, 1, 1), [("openai", "gpt-image-1-mini"), ("other", "short-lived")]),
    ],
)
def test_models_that_end_within_a_month_or_have_ended_are_known(
    today: date, ending: list[tuple[str, str]]
) -> None:
    toml(
        '[openai]\napi_key = "k"\nmodel = "gpt-image-1-mini"\n'
        '[[providers]]\nname = "other"\napi_key = "k"\n'
        'models = [{ name = "short-lived", ends = 2027-01-31 }, "gpt-image-1.5"]\n'
        '[[providers]]\nname = "lasting"\napi_key = "k"\n'
    )
    found = load_settings().ending_models(today)
    assert [(name, model.name) for name, model in found] == ending


# -- whatever may come ------------------------------------------------------------------

names = st.sampled_from(["a", "a__b", "b", "c_"])
entries = st.lists(st.fixed_dictionaries({"name": names}), max_size=4)
rests = st.lists(st.sampled_from(["a", "b", "c_", "x", ""]), min_size=1, max_size=4).map("__".join)


@given(listed=entries, rest=rests, text=st.text(max_size=8))
def test_a_key_reaches_the_entries_of_its_name_and_no_other_or_is_refused(
    listed: list[dict[str, str]], rest: str, text: str
) -> None:
    variables = {f"PROVIDERS__{rest.upper()}": text}
    found = provider_entries(Settings, listed, {}, variables)
    fitting = {each["name"] for each in listed if rest.startswith(f"{each['name']}__")}
    assert bool(found.problems) is not bool(fitting)
    name = max(fitting, key=len, default="")
    key = rest.removeprefix(f"{name}__")
    expected = [each | {key: text} if each["name"] == name else each for each in listed]
    assert found.tables == expected


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "kind", "x"]), inner, max_size=3)
    ),
)


@given(listed=anything, rest=rests)
def test_a_list_of_whatever_shape_is_left_to_the_validation(listed: Any, rest: str) -> None:
    before = json.dumps(listed)
    found = provider_entries(Settings, listed, {}, {f"PROVIDERS__{rest.upper()}": "x"}).tables
    assert json.dumps(listed) == before
    if not isinstance(listed, list):
        assert found == ([] if listed is None else listed)
