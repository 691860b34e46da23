"""A running server and its full OpenAPI document agree, as a foreign tool sees it."""

import asyncio
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "conformance.py"


@pytest.mark.slow
async def test_schemathesis_finds_nothing_where_server_and_document_disagree() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), "--examples", "10", "--seed", "1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
    assert process.returncode == 0, output.decode()
    assert b" passed" in output
