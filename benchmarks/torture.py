"""Kills a server under load, again and again, and counts what became of its promises.

Several clients send jobs of every kind. Half of the servers die at a kill point, the
others at any time. The last one may finish; then its record, the receiver and the stand-in
for the image API tell what was lost and what was done twice. All on loopback.

    python benchmarks/torture.py [--kills 60] [--seed N]

The exit code is 1 if anything was lost, told in two ways, or repeated without a kill.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from imgsvc.killpoints import KillPoint
from standins import killable
from standins.ledger import PATHS, audit, fill_input_bucket, submit
from standins.openai import OpenAIStandin, openai_standin
from standins.receiver import Receiver, callback_receiver
from standins.record import Record
from standins.server_process import ServerProcess, server_process, settle

CLIENTS = 6
IMAGES = 3
"""In the input bucket, for each batch."""

SIDES = ("before", "after")
LIMIT = 600.0  # seconds; the torture ends by itself
LIFE = (0.1, 2.5)  # seconds that a server lives once it answers, at least and at most


@dataclass(kw_only=True, slots=True)
class Life:
    """How far the other ends had come when a server began to answer."""

    callbacks: int
    edits: int


@dataclass(kw_only=True, slots=True)
class Torture:
    """The other ends, which survive, and what they have seen."""

    chance: random.Random
    data_dir: Path
    standin: OpenAIStandin
    receiver: Receiver
    url: str = ""  # of the server that lives at the moment
    alive: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0
    promised: set[str] = field(default_factory=set)
    deaths: Counter[str] = field(default_factory=Counter)
    lives: list[Life] = field(default_factory=list)

    async def client(self, number: int) -> None:
        """Send jobs, one after the other, from an address of its own."""
        connector = aiohttp.TCPConnector(local_addr=(f"127.0.0.{number + 2}", 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                await self.alive.wait()
                self.sent += 1
                path, prompt = self.chance.choice(PATHS), f"job {self.sent}"
                job_id = await submit(session, self.url, path, prompt, self.receiver.url)
                if job_id is not None:
                    self.promised.add(job_id)
                await asyncio.sleep(self.chance.uniform(0, 0.3))

    async def kill_one(self) -> None:
        """Start a server and see it die."""
        program: Sequence[str] = ("-m", "imgsvc")
        cause = "at any time"
        if self.chance.random() < 0.5:
            point, side = self.chance.choice(list(KillPoint)), self.chance.choice(SIDES)
            program = killable.program(point, side, nth=self.chance.randint(1, 5))
            cause = f"{side} {point}"
        async with server_process(
            self.data_dir, started=False, program=program, environment=self.standin.environment
        ) as server:
            await self._live(server)
            if server.process.returncode is None:
                cause = "at any time"
                server.process.kill()
            assert await server.process.wait() == -signal.SIGKILL, "".join(server.output)
        self.deaths[cause] += 1

    async def _live(self, server: ServerProcess) -> None:
        """Let the clients at it for a while, or until it is dead."""
        dead = asyncio.create_task(server.process.wait())
        started = asyncio.create_task(server.event("service_started"))
        await asyncio.wait({dead, started}, return_when=asyncio.FIRST_COMPLETED)
        if started.done() and started.exception() is None:
            self._begin(started.result()["listening"])
            await asyncio.wait({dead}, timeout=self.chance.uniform(*LIFE))
            self.alive.clear()
        await asyncio.wait({started})
        started.exception()  # a server may die of old work before it answers
        dead.cancel()

    def _begin(self, url: str) -> None:
        self.lives.append(
            Life(callbacks=len(self.receiver.received), edits=len(self.standin.calls))
        )
        self.url = url
        self.alive.set()

    def repeated_in_a_life(self) -> int:
        """Count what one server did twice although nothing had killed it in between."""
        deliveries = [callback.json["job_id"] for callback in self.receiver.received]
        edits = [(call.fields["prompt"], call.image.filename) for call in self.standin.calls]
        return _repeated(deliveries, [life.callbacks for life in self.lives]) + _repeated(
            edits, [life.edits for life in self.lives]
        )


def _repeated(seen: Sequence[Hashable], begins: Sequence[int]) -> int:
    """Count what comes more than once between two of the places where a life begins."""
    ends = [*begins[1:], len(seen)]
    return sum(
        end - begin - len(set(seen[begin:end])) for begin, end in zip(begins, ends, strict=True)
    )


@asynccontextmanager
async def torture(seed: int) -> AsyncIterator[Torture]:
    """Yield the other ends, with clients that send as long as a server lives."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        fill_input_bucket(data_dir, images=IMAGES)
        async with openai_standin(latency=0.05) as standin, callback_receiver() as receiver:
            chance = random.Random(seed)  # noqa: S311 - times, not secrets
            yield Torture(chance=chance, data_dir=data_dir, standin=standin, receiver=receiver)


async def run(kills: int, seed: int) -> bool:
    """Kill so many servers, print the figures, and return whether every promise was kept."""
    began = monotonic()
    async with asyncio.timeout(LIMIT), torture(seed) as ends:
        clients = [asyncio.create_task(ends.client(number)) for number in range(CLIENTS)]
        for _ in range(kills):
            await ends.kill_one()
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)
        repeated = ends.repeated_in_a_life()
        record = await settle(ends.data_dir, ends.standin.environment)
    found = audit(ends.promised, ends.receiver.received, record)
    print(f"kills                {kills}, in {monotonic() - began:.0f} s, seed {seed}")
    for cause, count in sorted(ends.deaths.items()):
        print(f"                     {count} {cause}")
    print(f"sent                 {ends.sent}")
    print(f"accepted             {len(ends.promised)}, and {found.unanswered} without an answer")
    print(f"states               {dict(found.states)}")
    print(f"failed because of    {dict(_reasons(record))}")
    print(f"lost                 {len(found.lost)} {found.lost[:5]}")
    print(f"told in two ways     {len(found.differing)} {found.differing[:5]}")
    print(f"repeated executions  {_show(found.executions)}")
    print(f"repeated deliveries  {_show(found.deliveries)}")
    print(f"repeated in one life {repeated}")
    return found.is_clean and repeated == 0


def _reasons(record: Record) -> Counter[str]:
    """Count the kinds of errors that jobs ended with."""
    outcomes = (job.outcome for job in record.jobs.values())
    errors = (outcome.error for outcome in outcomes if outcome is not None)
    return Counter(error.partition(":")[0] for error in errors if error is not None)


def _show(repetitions: Counter[str]) -> str:
    most = max(repetitions.values(), default=0)
    return f"{repetitions.total()}, of {len(repetitions)} jobs, at most {most} of one"


def main() -> None:
    """Read the options and end with 0 or 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 - as above
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    sys.exit(not asyncio.run(run(options.kills, options.seed)))


if __name__ == "__main__":
    main()
