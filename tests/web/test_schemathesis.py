"""A running server and its full OpenAPI document agree, as a foreign tool sees it."""

import re

import pytest

from standins.benchmark import run_benchmark


@pytest.mark.slow
async def test_schemathesis_finds_nothing_where_server_and_document_disagree() -> None:
    code, output = await run_benchmark("conformance.py", "--examples", "10", "--seed", "1")
    assert code == 0, output
    found = re.search(r"(\d+) generated, (\d+) passed", output)
    assert found is not None
    assert int(found[1]) > 1000
