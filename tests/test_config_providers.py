"""What is wrong with an entry of [[providers]], in plain words."""

from pathlib import Path

import pytest

from imgsvc.config import load_settings, secret_values
from imgsvc.providers import Automatic1111Config, OpenAIConfig
from standins.configuration import problems, toml

WEB_UI = """
[[providers]]
kind = "automatic1111"
base_url = "http://127.0.0.1:7860"
models = ["v1-5-inpainting"]
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_kind_chooses_which_keys_an_entry_has() -> None:
    toml(WEB_UI + '[[providers]]\nname = "gateway"\napi_key = "k"\n')
    first, second = load_settings().providers
    assert isinstance(first, Automatic1111Config)
    assert isinstance(second, OpenAIConfig)


def test_an_unknown_kind_is_named_with_those_there_are() -> None:
    toml('[[providers]]\nkind = "automatic1112"\n')
    (problem,) = problems()
    assert problem.startswith(
        "providers.automatic1112.kind: should be one of 'openai', 'automatic1111', 'huggingface'"
    )


def test_a_key_that_is_missing_is_named() -> None:
    toml('[[providers]]\nkind = "automatic1111"\nmodels = ["a"]\n')
    (problem,) = problems()
    assert problem.startswith("providers.automatic1111.base_url is missing")


def test_a_misspelt_key_is_named_with_the_nearest() -> None:
    toml(WEB_UI + 'negativ_prompt = "blurry"\n')
    (problem,) = problems()
    assert problem.startswith("providers.automatic1111.negativ_prompt: there is no such setting;")
    assert problem.endswith("did you mean providers.automatic1111.negative_prompt?")


def test_a_misspelt_key_of_a_model_is_named_with_the_nearest() -> None:
    toml(WEB_UI.replace('["v1-5-inpainting"]', '[{ name = "a", mask = false }]'))
    (problem,) = problems()
    assert problem.startswith("providers.automatic1111.models.0.mask: there is no such setting;")
    assert problem.endswith("did you mean providers.automatic1111.models.0.masks?")


def test_a_key_of_another_kind_is_told_apart_from_a_misspelt_one() -> None:
    toml(WEB_UI + 'quality = "high"\n')
    [problem] = problems()
    assert problem == (
        "providers.automatic1111.quality does not go with"
        " providers.automatic1111.kind = automatic1111"
    )


def test_an_entry_that_is_no_table_is_told_so() -> None:
    toml("providers = [1]\n")
    assert problems() == ["providers.0: should be a table, as in [[providers]]"]


def test_a_key_of_a_room_in_one_of_its_models_is_just_unknown() -> None:
    toml('[openai]\nmodels = [{ name = "a", quality = "high" }]\n')
    (problem,) = problems()
    assert problem.startswith("openai.models.0.quality")
    assert "there is no such setting" in problem


def test_a_kind_whose_extra_is_not_installed_is_told_with_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imgsvc.providers.huggingface.config.INSTALLED", False)
    toml('[[providers]]\nkind = "huggingface"\napi_key = "k"\nmodels = ["a/b"]\n')
    (problem,) = problems()
    assert problem.startswith(
        "providers.huggingface.kind: needs the extra `huggingface`: pip install"
    )


def test_the_secrets_of_all_entries_are_known_to_the_log() -> None:
    toml(
        WEB_UI
        + """
        username = "me"
        password = "secret-of-the-web-ui"
        [[providers]]
        kind = "huggingface"
        api_key = "secret-of-hugging-face"
        models = ["a/b"]
        """
    )
    secrets = set(secret_values(load_settings()))
    assert secrets >= {"secret-of-the-web-ui", "secret-of-hugging-face"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'api_key = "k"\nname = "My-API"',
            (
                "providers.0.name: should be small letters, digits and _, a letter first, at most"
                " 32 (set in [[providers]])"
            ),
        ),
        (
            'api_key = "k"\nname = "gateway"\nmodels = [{ name = "a", sizes = ["big"] }]',
            (
                "providers.gateway.models.0.sizes.0: should be `auto` or WIDTHxHEIGHT in pixels"
                " (set in [[providers]])"
            ),
        ),
        (
            (
                'api_key = "k"\nname = "gateway"\nmodels = [{ name = "a", price = { text_input = 1,'
                " image_input = 1 } }]"
            ),
            (
                "providers.gateway.models.0.price.output is missing: a price needs text_input,"
                " image_input and output"
            ),
        ),
        (
            'api_key = "k"\nname = "gateway"\nmodels = [{ name = "a", ends = "soon" }]',
            (
                "providers.gateway.models.0.ends: should be a day like 2026-12-01"
                " (set in [[providers]])"
            ),
        ),
        (
            'api_key = "k"\nname = "gateway"\nmodels = ["x", "y", "x"]',
            "providers.gateway.models: x is there twice (set in [[providers]])",
        ),
    ],
)
def test_a_wrong_value_is_named_with_the_entry_and_what_it_should_be(
    text: str, problem: str
) -> None:
    toml(f"[[providers]]\n{text}\n")
    assert problems() == [problem]


def test_one_table_in_place_of_a_list_is_told_of_the_brackets() -> None:
    toml('[providers]\nname = "gateway"\napi_key = "k"\n')
    assert problems() == [
        "providers: write [[providers]], with two brackets: it is a list of tables"
    ]
