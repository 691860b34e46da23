"""The table of attacks shows what it says it does."""

import re

import pytest

from standins.benchmark import run_benchmark

QUICK = (
    "callers without a key",
    "forged tokens",
    "jobs of other clients",
    "limits of a client",
    "secrets in answers",
    "redirects inside",
)


@pytest.mark.slow
async def test_attacks_are_refused_without_a_call_inside_and_roles_open_what_is_theirs() -> None:
    code, output = await run_benchmark("attacks.py", "--only", *QUICK)
    assert code == 0, output
    for name in QUICK:
        row = re.search(rf"^{name} +([\d,]+) +([\d,]+) +(\d+) .* MiB$", output, re.MULTILINE)
        assert row is not None, output
        assert row[1] == row[2] != "0"
        assert row[3] == "0"
    cells = re.findall(r"^GET /cos/config +(.+)$", output, re.MULTILINE)
    assert [re.split(r"  +", line) for line in cells] == [
        ["no key", "no role", "no role", "no role", "200"]
    ]
