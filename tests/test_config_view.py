"""The configuration in force, as `GET /config` shows it."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from imgsvc.config import Settings, secret_values
from imgsvc.config.view import HIDDEN, shown

CANARY = "CANARY0"


def settings(**rooms: Any) -> Settings:
    return Settings.model_validate(rooms)


def canaries(text: str) -> str:
    return f"{CANARY}{text}"


def test_every_setting_is_there_under_its_name() -> None:
    document = shown(settings(server={"port": 8123}))
    assert set(document) == set(Settings.model_fields)
    assert document["server"]["port"] == 8123
    assert json.loads(json.dumps(document)) == document


def test_no_secret_of_any_room_is_shown(tmp_path: Path) -> None:
    secret = f"whsec_{'c2VjcmV0' * 4}"
    given = settings(
        data_dir=tmp_path,
        openai={"api_key": canaries("openai")},
        providers=[
            {"kind": "openai", "name": "b", "base_url": "https://b.example.com/v1"}
            | {"api_key": canaries("b")},
            {"kind": "automatic1111", "base_url": "https://a.example.com"}
            | {"models": [{"name": "sd"}], "username": "ann", "password": canaries("webui")},
        ],
        storage={"kind": "s3", "endpoint": "https://s3.example.com", "region": "eu-de"}
        | {"access_key_id": canaries("id"), "secret_access_key": canaries("s3"), "bucket": "b"},
        callbacks={"signing_secrets": [secret]},
        egress={"proxy": f"http://imgsvc:{canaries('proxy')}@proxy.internal:3128"},
    )
    text = json.dumps(shown(given))
    values = list(secret_values(given))
    assert len(values) == 8  # of the proxy there are three forms
    for value in values:
        assert value not in text
    assert CANARY not in text.replace(canaries("id"), "")  # the id is no secret
    assert text.count(HIDDEN) >= 6


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://u:pw@issuer.example.com/", "https://**********@issuer.example.com/"),
        ("https://token@issuer.example.com", "https://**********@issuer.example.com"),
        ("https://a@b@issuer.example.com/", "https://**********@issuer.example.com/"),
        ("https://h/?key=abc&x=1#f", "https://h/?**********"),
        ("https://h/?secret", "https://h/?**********"),
        ("https://h/a=b", "https://h/a=b"),
        ("imgsvc@h?a=b", "imgsvc@h?a=b"),
    ],
)
def test_what_a_url_may_carry_is_not_shown(url: str, wanted: str) -> None:
    given = settings(auth={"jwt_issuer": url})
    assert shown(given)["auth"]["jwt_issuer"] == wanted


def test_a_secret_that_stands_in_another_setting_is_not_shown_there() -> None:
    given = settings(openai={"api_key": "sk-abcdef"}, auth={"jwt_audience": "sk-abcdef!"})
    assert given.openai.api_key == SecretStr("sk-abcdef")
    assert shown(given)["auth"]["jwt_audience"] == f"{HIDDEN}!"
