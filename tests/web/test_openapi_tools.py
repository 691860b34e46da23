import json
from typing import Any

import pytest
from openapi_schema_validator import OAS30ReadValidator
from pydantic import BaseModel

from imgsvc.jobs.bodies import BatchCallback, ImageToBase64Callback, ImageToStorageCallback
from imgsvc.jobs.models import JobState
from imgsvc.web import openapi
from imgsvc.web.batch_schemas import BatchRequest
from imgsvc.web.job_view import JobView
from imgsvc.web.openapi_everywhere import REFUSALS
from imgsvc.web.schemas import ProcessImageRequest
from standins.watsonx import watsonx_import

SERVER = "https://images.example.com"
TOOLS: dict[str, tuple[str, type[BaseModel]]] = {
    "processImageAsyncToBase64": ("/process-image-async-b64", ProcessImageRequest),
    "processImageAsyncToCos": ("/process-image-async", ProcessImageRequest),
    "batchProcessImages": ("/batch-process-images", BatchRequest),
}
JOB_TOOLS = {
    "getJob": ("GET", "/jobs/{job_id}"),
    "cancelJob": ("POST", "/jobs/{job_id}/cancel"),
}
CALLBACKS: dict[str, type[BaseModel]] = {
    "processImageAsyncToBase64": ImageToBase64Callback,
    "processImageAsyncToCos": ImageToStorageCallback,
    "batchProcessImages": BatchCallback,
}
CALLBACK_TYPES = {
    "processImageAsyncToBase64": {
        "status": "string",
        "job_id": "string",
        "filename": "string",
        "model": "string",
        "result_image_base64": "string",
        "result_mime_type": "string",
        "provider": "string",
        "fallback": "boolean",
        "fallback_reason": "string",
        "operations": "array",
        "ignored": "array",
        "moderation_categories": "array",
        "error": "string",
        "cost_usd": "number",
        "cost_unknown": "boolean",
    },
    "processImageAsyncToCos": {
        "status": "string",
        "job_id": "string",
        "filename": "string",
        "model": "string",
        "object_key": "string",
        "result_url": "string",
        "expires_in": "integer",
        "provider": "string",
        "fallback": "boolean",
        "fallback_reason": "string",
        "operations": "array",
        "ignored": "array",
        "moderation_categories": "array",
        "error": "string",
        "cost_usd": "number",
        "cost_unknown": "boolean",
    },
    "batchProcessImages": {
        "status": "string",
        "job_id": "string",
        "total_files": "integer",
        "processed": "integer",
        "failed": "integer",
        "fallback_local": "integer",
        "fallback_other": "integer",
        "total_files_processed": "integer",
        "duration_seconds": "number",
        "output_bucket": "string",
        "output_prefix": "string",
        "errors": "array",
        "provider": "string",
        "fallback": "boolean",
        "fallback_reason": "string",
        "error": "string",
        "cost_usd": "number",
        "cost_unknown": "boolean",
    },
}


@pytest.mark.parametrize("name", TOOLS)
def test_request_examples_are_requests_that_the_server_takes(name: str) -> None:
    path, model = TOOLS[name]
    body = openapi.document(SERVER)["paths"][path]["post"]["requestBody"]
    for example in body["content"]["application/json"]["examples"].values():
        model.model_validate(example["value"])


@pytest.mark.parametrize("name", TOOLS)
def test_callback_examples_are_bodies_that_the_server_sends(name: str) -> None:
    path, _ = TOOLS[name]
    callbacks = openapi.document(SERVER)["paths"][path]["post"]["callbacks"]["callback"]
    body = callbacks["{$request.header.callbackUrl}"]["post"]["requestBody"]
    for example in body["content"]["application/json"]["examples"].values():
        sent = CALLBACKS[name].model_validate(example["value"])
        assert sent.model_dump(mode="json", exclude_none=True) == example["value"]


@pytest.mark.parametrize("name", TOOLS)
def test_a_callback_with_new_fields_still_fits_its_schema(name: str) -> None:
    schema = openapi.document(SERVER)["components"]["schemas"][CALLBACKS[name].__name__]
    assert "additionalProperties" not in schema


@pytest.mark.parametrize("name", TOOLS)
def test_a_request_with_an_unknown_field_does_not_fit_its_schema(name: str) -> None:
    _, model = TOOLS[name]
    schema = openapi.document(SERVER)["components"]["schemas"][model.__name__]
    validator = OAS30ReadValidator(schema)
    assert validator.is_valid({"prompt": "Blur it"})
    assert not validator.is_valid({"prompt": "Blur it", "promt": "Blur it"})


@pytest.mark.parametrize("name", TOOLS)
def test_refusals_are_problem_documents(name: str) -> None:
    path, _ = TOOLS[name]
    responses = openapi.document(SERVER)["paths"][path]["post"]["responses"]
    of_all = {"202", "400", "403", "408", "413", "415", "422", "429", "503"}
    assert set(responses) == of_all | ({"502"} if name == "batchProcessImages" else set())
    for code, response in responses.items():
        media_type = "application/json" if code == "202" else "application/problem+json"
        assert list(response["content"]) == [media_type]
    assert "Retry-After" in responses["503"]["headers"]
    assert set(responses["429"]["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}


@pytest.mark.parametrize("name", TOOLS)
def test_only_the_full_document_tells_of_callers_who_wait_or_repeat(name: str) -> None:
    path, _ = TOOLS[name]
    tool, full = (
        openapi.document(SERVER, full=full)["paths"][path]["post"] for full in (False, True)
    )
    required = {each["name"]: each["required"] for each in full["parameters"]}
    assert not any(required.values())
    assert {"callbackUrl", "Prefer", "Idempotency-Key"} < set(required)
    assert ("progressUrl" in required) == (name == "batchProcessImages")
    assert [(each["name"], each["required"]) for each in tool["parameters"]] == [
        ("callbackUrl", True)
    ]
    general = {str(error.status) for error in REFUSALS}
    assert set(full["responses"]) - set(tool["responses"]) - general == {"200"}


# -- through the importer of watsonx Orchestrate ----------------------------------------


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("watsonx") / "imgsvc-openapi.json"
    file.write_text(json.dumps(openapi.document(SERVER)))
    return {tool["name"]: tool for tool in watsonx_import("tools", file)}


def test_the_importer_makes_the_tools_and_what_an_agent_can_do_with_their_jobs(
    tools: dict[str, Any],
) -> None:
    assert list(tools) == [*TOOLS, *JOB_TOOLS]
    assert all(tool["display_name"] and tool["description"] for tool in tools.values())


@pytest.mark.parametrize("name", TOOLS)
def test_the_importer_finds_an_asynchronous_tool(tools: dict[str, Any], name: str) -> None:
    path, _ = TOOLS[name]
    tool, binding = tools[name], tools[name]["binding"]["openapi"]
    assert tool["is_async"]
    assert (binding["http_method"], binding["http_path"]) == ("POST", path)
    assert binding["servers"] == [SERVER]
    assert not binding["security"]
    assert binding["callback"]["callback_url"] == "{$request.header.callbackUrl}"
    assert binding["callback"]["method"] == "POST"


@pytest.mark.parametrize("name", TOOLS)
def test_the_only_input_of_a_tool_is_its_request_body(tools: dict[str, Any], name: str) -> None:
    _, model = TOOLS[name]
    schema = tools[name]["input_schema"]
    assert list(schema["properties"]) == schema["required"] == ["__requestBody__"]
    body = schema["properties"]["__requestBody__"]
    assert set(body["properties"]) == set(model.model_fields)
    assert body["required"] == ["prompt"]
    assert body["description"]
    assert all(field["type"] and field["description"] for field in body["properties"].values())


@pytest.mark.parametrize("name", TOOLS)
def test_the_output_of_a_tool_is_its_callback(tools: dict[str, Any], name: str) -> None:
    schema = tools[name]["output_schema"]
    assert list(schema["properties"]) == ["__requestBody__"]
    body = schema["properties"]["__requestBody__"]
    types = {field: each["type"] for field, each in body["properties"].items()}
    assert types == CALLBACK_TYPES[name]
    assert {"status", "job_id", "fallback"} <= set(body["required"])
    assert all(field["description"] for field in body["properties"].values())


@pytest.mark.parametrize("name", TOOLS)
def test_the_acknowledgement_of_a_tool_is_the_202_answer(tools: dict[str, Any], name: str) -> None:
    acknowledgement = tools[name]["binding"]["openapi"]["acknowledgement"]["output_schema"]
    types = {field: each["type"] for field, each in acknowledgement["properties"].items()}
    assert types == {"accepted": "boolean", "job_id": "string"}


@pytest.mark.parametrize("name", JOB_TOOLS)
def test_the_importer_finds_a_plain_tool_that_asks_for_a_job_id(
    tools: dict[str, Any], name: str
) -> None:
    tool, binding = tools[name], tools[name]["binding"]["openapi"]
    assert not tool["is_async"]
    assert (binding["http_method"], binding["http_path"]) == JOB_TOOLS[name]
    assert not binding["callback"]
    schema = tool["input_schema"]
    assert schema["required"] == ["path_job_id"]  # the importer names the place too
    field = schema["properties"].pop("path_job_id")
    assert (field["aliasName"], field["type"]) == ("job_id", "string")
    assert field["description"]
    assert not schema["properties"]


@pytest.mark.parametrize("name", JOB_TOOLS)
def test_the_output_of_a_plain_tool_is_the_job(tools: dict[str, Any], name: str) -> None:
    properties = tools[name]["output_schema"]["properties"]
    assert set(properties) == set(JobView.model_fields)
    assert properties["state"]["enum"] == list(JobState)
