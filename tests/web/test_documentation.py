"""The pages in docs/ about the interface hold what the interface has."""

import re
from pathlib import Path
from typing import Any

import pytest

from imgsvc.web import openapi, openapi_security
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.auth.principal import Principal, Proof
from imgsvc.web.auth.roles import Role
from imgsvc.web.job_query import JobQuery
from imgsvc.web.job_view import AttemptView, CallbackView, JobLinks, JobView, ProgressView
from imgsvc.web.openapi_parts import problem_answers
from imgsvc.web.openapi_tools import TOOLS
from imgsvc.web.problems import MEDIA_TYPE
from imgsvc.web.results import StoredResultView
from imgsvc.web.routes import rules_of
from standins.watsonx import watsonx_import

DOCS = Path(__file__).parents[2] / "docs"
HTTP_API = (DOCS / "http-api.md").read_text()
WATSONX = (DOCS / "watsonx-orchestrate.md").read_text()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document("https://images.example.com", full=True)


def test_every_path_is_documented(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method in item:
            assert f"| `{method.upper()} {path}` |" in HTTP_API


def test_every_request_field_is_documented() -> None:
    first, _, rest = HTTP_API.partition("### Fields of `/batch-process-images`")
    for tool in TOOLS:
        table = rest if tool.operation_id == "batchProcessImages" else first
        missing = [name for name in tool.request.model_fields if f"`{name}`" not in table]
        assert not missing


def test_every_immediate_refusal_is_documented_with_its_status() -> None:
    for tool in TOOLS:
        for error in tool.refusals:
            assert f"| {error.status} | `{error.code}` |" in HTTP_API
            assert str(error.status) in problem_answers(error)


def test_every_refusal_of_every_operation_is_documented_with_its_status(
    document: dict[str, Any],
) -> None:
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                refused = answer.get("content", {}).get(MEDIA_TYPE, {})
                for code in refused.get("examples", {}):
                    assert f"| {status} | `{code}` |" in HTTP_API


def test_every_field_of_a_job_is_documented() -> None:
    chapter = HTTP_API.partition("## Jobs\n")[2].partition("\n## ")[0]
    views = (JobView, CallbackView, AttemptView, JobLinks, ProgressView, StoredResultView)
    for model in (*views, JobQuery):
        assert not [name for name in model.model_fields if name not in chapter]


def test_the_agent_in_the_guide_is_one_that_watsonx_orchestrate_takes(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", WATSONX, re.DOTALL)
    assert found is not None
    file = tmp_path / "agent.yaml"
    file.write_text(found[1])
    agent = watsonx_import("agent", file)
    paths = openapi.document("http://127.0.0.1")["paths"].values()
    assert set(agent["tools"]) < {each["operationId"] for path in paths for each in path.values()}


def test_the_key_in_the_guide_may_use_every_tool_and_goes_where_it_is_looked_for() -> None:
    rules = rules_of(AuthConfig(mode="api_key"))
    assert rules is not None
    found = re.search(r"imgsvc keys create --client wxo --roles (\S+)", WATSONX)
    assert found is not None
    roles = frozenset(Role(role) for role in found[1].split(","))
    holder = Principal(client="wxo", roles=roles, proof=Proof.API_KEY)
    document = openapi.document("https://images.example.com", rules=rules)
    for path, item in document["paths"].items():
        for method in item:
            assert rules[method.upper(), path].admits(holder)
    header = re.search(r"--kind api_key .*?--name (\S+)$", WATSONX, re.DOTALL | re.MULTILINE)
    assert header is not None
    assert header[1] == document["components"]["securitySchemes"]["apiKey"]["name"]


def test_every_refusal_of_who_may_not_is_documented_with_its_status() -> None:
    for error in openapi_security.REFUSALS:
        assert f"| {error.status} | `{error.code}` |" in HTTP_API
