"""What a server does about attacks, as a table, and who may do what, as measured.

A server that is open to a network, with authentication, is attacked over the wire. For each
row: how many inputs were tried, how many were refused, how many connections a canary has got
where the server must not call, and how much more memory the server had at its peak than
when the row began. The inputs are those of the tests, as far as these have lists of them.
All on this machine.

    python benchmarks/attacks.py [--only "JSON bombs" ...]

The exit code is 1 if anything was not refused, or a canary was called.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import attack_bodies as bodies
import attack_callers as callers
import attack_urls as urls
from attack_target import IMAGE, WAIT, Target, filled, target
from imgsvc.web.auth.roles import Role
from standins.processes import forget_most_resident, most_resident, resident

LIMIT = 600.0  # seconds; the benchmark ends by itself
WARM_UP = 5
"""Edits before anything is measured: modules, threads, connections."""

GUARD = {"credentials_missing": "no key", "role_missing": "no role"}
"""What the guard says, in words that fit a column."""

Attack = Callable[[Target], AsyncIterator[tuple[str, bool]]]
"""Yields the name of each input, and whether it was refused."""

ATTACKS: Mapping[str, Attack] = {
    "callers without a key": callers.without_a_key,
    "wrong, expired and revoked keys": callers.wrong_keys,
    "forged tokens": callers.forged_tokens,
    "brute force": callers.brute_force,
    "jobs of other clients": callers.others_jobs,
    "limits of a client": callers.limits_of_a_client,
    "secrets in answers": callers.secrets,
    "framing and smuggling": bodies.framing,
    f"{bodies.SLOW:,} slow heads at once": bodies.slow_heads,
    "JSON bombs": bodies.json_bombs,
    "oversized and compressed bodies": bodies.oversized_bodies,
    "hostile images": bodies.hostile_images,
    "URLs that lead inside": urls.egress_urls,
    "redirects inside": urls.redirects,
    "names that lead inside": urls.names_that_lead_inside,
    "names that turn inside (rebinding)": urls.rebinding,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What came of one attack."""

    name: str
    tried: int
    not_refused: list[str]
    connections: int  # to the canary
    growth: int  # bytes

    @property
    def held(self) -> bool:
        """Whether the attacker got nothing."""
        return self.tried > 0 and not self.not_refused and not self.connections

    def __str__(self) -> str:
        refused = self.tried - len(self.not_refused)
        return (
            f"{self.name:<36}{self.tried:>7,}{refused:>9,}{self.connections:>13,}"
            f"{self.growth / 2**20:>9.1f} MiB"
        )


async def measure(name: str, attack: Attack, attacked: Target) -> Row:
    """Carry out one attack."""
    pid, before = attacked.server.pid, attacked.canary.connections
    memory, tried, not_refused = resident(pid), 0, []
    forget_most_resident(pid)
    async for what, is_refused in attack(attacked):
        tried += 1
        if not is_refused:
            not_refused.append(what)
    return Row(
        name=name,
        tried=tried,
        not_refused=not_refused,
        connections=attacked.canary.connections - before,
        growth=most_resident(pid) - memory,
    )


async def print_matrix(attacked: Target) -> None:
    """Ask for everything with each role alone, and print who gets past the guard.

    What a request with nothing in it is then answered is the status in the table.
    """
    print(f"\n{'route':<46}{'none':>9}" + "".join(f"{role:>9}" for role in Role))
    for method, path, _ in await attacked.operations():
        cells = []
        for role in (None, *Role):
            headers = {} if role is None else attacked.token("eve", [role])
            answer = await attacked.ask(method, filled(path), headers)
            cells.append(GUARD.get(answer.code, str(answer.status)))
        print(f"{method + ' ' + path:<46}" + "".join(f"{cell:>9}" for cell in cells))


async def run(names: Iterable[str], attacked: Target) -> bool:
    """Carry out attacks and print the tables; return whether all of them failed."""
    ann = {"X-API-Key": attacked.keys["good"]} | WAIT
    for _ in range(WARM_UP):
        assert (await attacked.submit(ann, image_base64=IMAGE)).status == 200
    print(f"{'attack':<36}{'tried':>7}{'refused':>9}{'connections':>13}{'memory':>13}")
    rows = []
    for name in names:
        rows.append(await measure(name, ATTACKS[name], attacked))
        print(rows[-1], flush=True)
        for what in rows[-1].not_refused:
            print(f"    not refused: {what}", flush=True)
    await print_matrix(attacked)
    return all(row.held for row in rows)


async def main() -> None:
    """Read the options, and attack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with asyncio.timeout(LIMIT), target(Path(folder)) as attacked:
            held = await run(options.only, attacked)
    sys.exit(not held)


if __name__ == "__main__":
    asyncio.run(main())
