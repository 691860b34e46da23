import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS30ReadValidator, oas30_format_checker
from openapi_spec_validator import OpenAPIV30SpecValidator

from imgsvc.errors import ConfigurationError
from imgsvc.web import openapi
from imgsvc.web.openapi_everywhere import REFUSALS
from imgsvc.web.problems import MEDIA_TYPE
from imgsvc.web.routes import ROUTES

SERVER = "https://images.example.com"
KEYWORDS = {
    *("$ref", "type", "format", "enum", "properties", "required", "additionalProperties", "items"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"),
    *("description", "example", "anyOf"),
}
"""Those of OpenAPI 3.0 that the document has use for."""


@pytest.fixture(params=[False, True], ids=["tools", "full"])
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    return openapi.document(SERVER, full=request.param)


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a JSON document with its path."""
    yield path, value
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(child, f"{path}/{key}")


def schemas(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every schema of the document, those inside others too."""
    found = list(document["components"]["schemas"].values())
    found += [
        value["schema"]
        for _, value in nodes(document["paths"])
        if isinstance(value, dict) and isinstance(value.get("schema"), dict)
    ]
    while found:
        schema = found.pop()
        yield schema
        found += schema.get("properties", {}).values()
        found += [schema["items"]] if "items" in schema else []
        found += schema.get("anyOf", [])


def misfits(value: Any, schema: dict[str, Any]) -> list[str]:
    """Return what is wrong with a value by a schema that may refer to its own components."""
    validator = OAS30ReadValidator(schema, format_checker=oas30_format_checker)
    return [error.message for error in validator.iter_errors(value)]


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every operation, those of callbacks too."""
    for _, value in nodes(document["paths"]):
        if isinstance(value, dict) and "responses" in value:
            yield value


# -- the document as such ---------------------------------------------------------------


def test_the_document_is_valid_openapi_3_0_3(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.0.3"
    OpenAPIV30SpecValidator(document).validate()


def test_the_document_is_plain_json_and_the_same_every_time(document: dict[str, Any]) -> None:
    full = "/health" in document["paths"]
    assert json.loads(json.dumps(document)) == document == openapi.document(SERVER, full=full)


def test_schemas_use_nothing_but_what_openapi_3_0_knows(document: dict[str, Any]) -> None:
    for schema in schemas(document):
        assert set(schema) in ({"$ref"}, {"anyOf"}) or isinstance(schema["type"], str)
        assert schema.keys() <= KEYWORDS


def test_nothing_is_null(document: dict[str, Any]) -> None:
    assert all(value is not None and value != "null" for _, value in nodes(document))


def test_only_references_inside_the_document_are_made(document: dict[str, Any]) -> None:
    references = [value for path, value in nodes(document) if path.endswith("/$ref")]
    names = document["components"]["schemas"]
    assert set(references) == {f"#/components/schemas/{name}" for name in names}


def test_there_is_exactly_one_server_and_it_has_no_variables(document: dict[str, Any]) -> None:
    assert document["servers"] == [{"url": SERVER}]


def test_every_operation_says_what_it_is_for(document: dict[str, Any]) -> None:
    found = list(operations(document))
    assert all(operation["summary"] and operation["description"] for operation in found)
    names = [operation["operationId"] for operation in found]
    assert all(names)
    assert len(names) == len(set(names))


def test_response_codes_are_strings(document: dict[str, Any]) -> None:
    for operation in operations(document):
        assert all(re.fullmatch(r"[1-5]\d\d", code) for code in operation["responses"])


def test_no_security_is_declared(document: dict[str, Any]) -> None:
    assert all("security" not in path for path, _ in nodes(document))


def test_fields_that_hold_base64_are_declared_as_such(document: dict[str, Any]) -> None:
    declared = {
        path.rsplit("/", 1)[-1]
        for path, value in nodes(document["components"]["schemas"])
        if isinstance(value, dict) and value.get("format") == "byte"
    }
    assert declared == {"image_base64", "mask_base64", "result_image_base64"}


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for path, content in nodes(document["paths"]):
        if not isinstance(content, dict) or not isinstance(content.get("schema"), dict):
            continue
        values = [each["value"] for each in content.get("examples", {}).values()]
        values += [content["example"]] if "example" in content else []
        schema = {**content["schema"], "components": document["components"]}
        for value in values:
            checked += 1
            assert not misfits(value, schema), path
    assert checked > 20


# -- server URLs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "https://images.example.com",
        "https://gateway.example.com/imgsvc",
        "http://[::1]:8000",
        "http://host.docker.internal:8000",
    ],
)
def test_an_absolute_server_url_is_taken_as_it_is(url: str) -> None:
    assert openapi.document(url)["servers"] == [{"url": url}]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "images.example.com",
        "//images.example.com",
        "ftp://images.example.com",
        "https://",
        "https://images.example.com/",
        "https://{host}",
        "https://images.example.com/{prefix}",
        "https://images.example.com?x=1",
        "https://images.example.com#x",
        "https://images example.com",
        "https://images.example.com:port",
        "https://images.example.com:99999",
        "http://[::1",
        "https://images.example.com\n",
    ],
)
def test_any_other_server_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="absolute http or https URL") as caught:
        openapi.document(url)
    assert repr(url) in caught.value.problems[0]


# -- against the router -----------------------------------------------------------------


def test_every_route_is_documented() -> None:
    documented = {
        (method.upper(), path)
        for path, item in openapi.document(SERVER, full=True)["paths"].items()
        for method in item
    }
    routed = {
        (route.method, re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", route.path)) for route, _ in ROUTES
    }
    assert documented == routed


def test_every_operation_tells_what_any_request_may_be_answered() -> None:
    for item in openapi.document(SERVER, full=True)["paths"].values():
        for operation in item.values():
            answers = operation["responses"]
            assert all("X-Request-Id" in answer["headers"] for answer in answers.values())
            for error in REFUSALS:
                examples = answers[str(error.status)]["content"][MEDIA_TYPE]["examples"]
                assert error.code in examples


def test_what_an_answer_leads_to_is_an_operation_of_the_document() -> None:
    document = openapi.document(SERVER, full=True)
    names = {operation["operationId"] for operation in operations(document)}
    linked = {
        link["operationId"]
        for operation in operations(document)
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    }
    assert linked
    assert linked <= names
