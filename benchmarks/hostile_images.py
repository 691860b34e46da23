"""What becomes of files made to hurt, one at a time, by every way into a real server.

For each: its size, the answer, the seconds until it came, and how much more memory the
server had at its peak than at the start, after a few good pictures. A program `gs`, first in
the server's PATH, stands in for Ghostscript and would leave a mark. All on loopback.

    python benchmarks/hostile_images.py [--ways base64 url mask object] [--only NAME ...]

The exit code is 1 if an answer is not among the expected ones, took more than 2 seconds or
32 MiB, or if a process is left over.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from imaging.corpus import CORPUS, TAKEN, expected
from programs import RunningServer, started_server
from standins.ghostscript import ghostscript_trap
from standins.hostile_caller import Answer, HostileCaller, Way, hostile_caller
from standins.pictures import picture
from standins.processes import (
    children_of,
    forget_most_resident,
    is_alive,
    most_resident,
    resident,
)

MIB = 2**20
LIMIT = 900.0  # seconds; the benchmark ends by itself
MOST_SECONDS, MOST_GROWTH = 2.0, 32 * MIB
WARM_UP = 3
"""Rounds with a good picture before anything is measured: modules, threads, connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One file by one way."""

    name: str
    way: Way
    size: int  # bytes
    answer: Answer
    seconds: float
    growth: int  # bytes

    @property
    def kept(self) -> bool:
        """Whether all is as promised; an edit takes as long as the picture is large."""
        return (
            self.answer.code in expected(self.name, self.way)
            and self.growth < MOST_GROWTH
            and (self.seconds < MOST_SECONDS or self.answer.code == TAKEN)
        )

    def __str__(self) -> str:
        return (
            f"{self.name:<26} {self.way:<7} {self.size:>11,} {self.answer.status}"
            f" {self.answer.code:<24} {self.seconds:5.2f} s {self.growth / MIB:6.1f} MiB"
            f"{'' if self.kept else '   <-- not as promised'}"
        )


async def measure(caller: HostileCaller, pid: int, name: str, way: Way, memory: int) -> Row:
    """Send one file and return what came of it; `memory` is what the server had at first."""
    data = CORPUS[name].make()
    forget_most_resident(pid)
    began = monotonic()
    answer = await caller.send(data, way)
    return Row(
        name=name,
        way=way,
        size=len(data),
        answer=answer,
        seconds=monotonic() - began,
        growth=most_resident(pid) - memory,
    )


async def run(
    server: RunningServer, data_dir: Path, names: Sequence[str], ways: Sequence[Way]
) -> list[Row]:
    """Send the files, one after the other, and print a line for each."""
    rows = []
    async with hostile_caller(server.url, data_dir) as caller:
        for way in Way:
            for _ in range(WARM_UP):
                await caller.send(picture(), way)
        memory = resident(server.pid)
        for name in names:
            for way in ways:
                rows.append(await measure(caller, server.pid, name, way, memory))
                print(rows[-1], flush=True)
    return rows


async def main() -> None:
    """Read the options, send the files, and print what is to be known of all together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--ways", nargs="+", type=Way, choices=list(Way), default=list(Way))
    parser.add_argument("--only", nargs="+", choices=list(CORPUS), default=list(CORPUS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ghostscript_trap(Path(folder)) as trap:
        data_dir = Path(folder) / "data"
        variables = {
            "IMGSVC_DATA_DIR": str(data_dir),
            "IMGSVC_SERVER__PORT": "0",
            "PATH": f"{trap.folder}{os.pathsep}{os.environ['PATH']}",
        }
        async with asyncio.timeout(LIMIT), started_server(variables) as server:
            before = children_of(server.pid)
            rows = await run(server, data_dir, options.only, options.ways)
            children = children_of(server.pid)
        left = [pid for pid in before | children if is_alive(pid)]
    refused = sum(400 <= row.answer.status < 500 for row in rows)
    print(
        f"\n{len(rows)} files sent, {refused} refused, {len(rows) - refused} edited"
        f"; slowest refusal {max(r.seconds for r in rows if r.answer.code != TAKEN):.2f} s"
        f"; most memory {max(row.growth for row in rows) / MIB:.1f} MiB"
        f"; children {len(before)}, then {len(children)}, after the end {len(left)}"
        f"; Ghostscript run: {'yes' if trap.was_run else 'no'}"
    )
    kept = all(row.kept for row in rows) and len(before) == len(children) and not left
    sys.exit(not kept or trap.was_run)


if __name__ == "__main__":
    asyncio.run(main())
