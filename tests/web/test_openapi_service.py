"""What a running server sends is what the document says."""

from typing import Any

import pytest
from openapi_schema_validator import OAS30ReadValidator, oas30_format_checker

from imgsvc.web import openapi
from imgsvc.web.openapi_parts import Tool
from imgsvc.web.openapi_tools import TOOLS
from standins.service import Caller

pytestmark = pytest.mark.asyncio(loop_scope="package")

COMPONENTS = openapi.document("https://images.example.com", full=True)["components"]


def check(body: dict[str, Any], name: str) -> None:
    """Check a body against a schema of the document, which must name all of its fields."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": COMPONENTS}
    OAS30ReadValidator(schema, format_checker=oas30_format_checker).validate(body)
    assert body.keys() <= COMPONENTS["schemas"][name]["properties"].keys()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/health", "Health"),
        ("/health/live", "Alive"),
        ("/health/ready", "Ready"),
        ("/cos/config", "StorageSettings"),
    ],
)
async def test_an_answer_fits_its_schema(local: Caller, path: str, name: str) -> None:
    status, body = await local.get(path)
    assert status == 200
    check(body, name)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.operation_id)
async def test_an_acceptance_and_its_callback_fit_their_schemas(local: Caller, tool: Tool) -> None:
    body = {"prompt": "Convert to black and white"}
    if "image_base64" in tool.request.model_fields:
        body |= tool.request_examples["inline"][1]
    status, accepted = await local.post(tool.path, body)
    assert status == 202
    check(accepted, "Accepted")
    check((await local.receiver.next()).json, tool.callback.__name__)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.operation_id)
async def test_a_job_and_a_list_of_jobs_fit_their_schemas(local: Caller, tool: Tool) -> None:
    body = {"prompt": "Convert to black and white"}
    if "image_base64" in tool.request.model_fields:
        body |= tool.request_examples["inline"][1]
    job_id = await local.submit(tool.path, body)
    check((await local.get(f"/jobs/{job_id}"))[1], "JobView")
    await local.until(job_id, lambda job: job.callback_attempts > 0)
    check((await local.get(f"/jobs/{job_id}"))[1], "JobView")
    check((await local.get("/jobs?limit=1"))[1], "JobPage")


async def test_a_fresh_link_fits_its_schema(local: Caller) -> None:
    tool = next(tool for tool in TOOLS if tool.operation_id == "processImageAsyncToCos")
    callback = await local.run(tool.path, tool.request_examples["inline"][1])
    check((await local.get(f"/jobs/{callback['job_id']}/result"))[1], "StoredResultView")


async def test_the_refusal_to_cancel_a_finished_job_fits_its_schema(local: Caller) -> None:
    tool = TOOLS[0]
    callback = await local.run(tool.path, tool.request_examples["inline"][1])
    url = f"{local.server.url}/jobs/{callback['job_id']}/cancel"
    async with local.session.post(url) as answer:
        check(await answer.json(content_type=None), "Problem")


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.operation_id)
async def test_a_refusal_fits_its_schema(local: Caller, tool: Tool) -> None:
    status, problem = await local.post(tool.path, {"promt": "Blur it"})
    assert status == 422
    check(problem, "Problem")


async def test_the_served_document_is_the_one_for_tools_unless_all_is_asked_for(
    local: Caller,
) -> None:
    url = local.server.url
    assert await local.get("/openapi.json") == (200, openapi.document(url))
    assert await local.get("/openapi.json?full=1") == (200, openapi.document(url, full=True))
