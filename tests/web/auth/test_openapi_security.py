"""What the OpenAPI document says of keys."""

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from imgsvc.web import openapi
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.problems import MEDIA_TYPE
from imgsvc.web.routes import rules_of
from standins.watsonx import watsonx_import
from web.auth.callers import ask, guarded_service

SERVER = "https://images.example.com"
RULES = rules_of(AuthConfig(mode="api_key"))


def operations(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


@pytest.mark.parametrize("full", [False, True])
def test_without_authentication_nothing_is_said_of_it(full: bool) -> None:
    assert rules_of(AuthConfig()) is rules_of(AuthConfig(mode="none")) is None
    text = json.dumps(openapi.document(SERVER, full=full))
    assert "securitySchemes" not in text
    assert '"security"' not in text


def test_each_operation_says_whether_it_needs_a_key() -> None:
    document = openapi.document(SERVER, full=True, rules=RULES)
    validate(document)
    assert RULES is not None
    assert document["security"] == [{"apiKey": []}, {"bearer": []}]
    for route, operation in operations(document).items():
        assert (operation.get("security") == []) == RULES[route].is_public, route
        if not RULES[route].is_public:
            assert {"400", "401", "403"} <= set(operation["responses"])


def test_what_else_is_refused_with_the_same_status_is_still_said() -> None:
    plain = openapi.document(SERVER, full=True)
    document = openapi.document(SERVER, full=True, rules=RULES)
    for route, operation in operations(plain).items():
        now = operations(document)[route]["responses"]
        for status, answer in operation["responses"].items():
            before = answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
            after = now[status].get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
            assert set(before) <= set(after)
            assert answer["description"] in now[status]["description"]


def test_watsonx_orchestrate_imports_the_same_tools_with_keys(tmp_path: Path) -> None:
    made = {}
    for name, rules in (("plain", None), ("keys", RULES)):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(openapi.document(SERVER, rules=rules)))
        tools = watsonx_import("tools", file)
        made[name] = {
            tool["name"]: [
                (way["type"], way["in_field"] or way["scheme"], way["name"])
                for way in tool["binding"]["openapi"]["security"]
            ]
            for tool in tools
        }
    ways = [("apiKey", "header", "X-API-Key"), ("http", "bearer", None)]
    assert made["keys"] == dict.fromkeys(made["plain"], ways)
    assert not any(made["plain"].values())


async def test_the_document_of_a_server_is_public_and_its_own(tmp_path: Path) -> None:
    async with guarded_service(tmp_path / "data", auth={"public_metrics": True}) as service:
        status, document, _ = await ask(service, "GET", "/openapi.json?full=1")
    assert status == 200
    assert document["paths"]["/metrics"]["get"]["security"] == []
    assert "security" not in document["paths"]["/jobs"]["get"]
