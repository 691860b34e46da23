"""`imgsvc jobs` and `imgsvc callbacks`: looking after the jobs of a running server.

With `as_json`, standard output has one JSON document a line, one a job. What the server
refuses goes to standard error.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass
from typing import Any

import orjson

from imgsvc.cli.audit import audit
from imgsvc.cli.client import (
    Address,
    Client,
    Refused,
    RequestFailed,
    configured_server,
    job_path,
    open_client,
    own_key,
)
from imgsvc.cli.pages import pages
from imgsvc.cli.tables import Json, details, jobs_table, plain
from imgsvc.cli.usage import usage

Command = Callable[[Client, Namespace], Coroutine[Any, Any, int]]
"""Does what the options say, and returns the exit code."""


async def run(command: Command, arguments: Namespace) -> int:
    """Run a command against the server of the options, else of the configuration.

    Raises ConfigurationError if neither names one.
    """
    named = arguments.server
    address = Address(url=named) if named else configured_server(arguments.config)
    async with open_client(address, own_key(arguments.key_file)) as client:
        try:
            return await command(client, arguments)
        except RequestFailed as exc:
            print(plain(exc.message), file=sys.stderr)
            return 1


async def list_jobs(client: Client, arguments: Namespace) -> int:
    """Print the newest jobs of those asked for."""
    wanted = {
        "state": arguments.state,
        "kind": arguments.kind,
        "callback": arguments.callback,
    }
    query = {name: value for name, value in wanted.items() if value is not None}
    query |= _since(arguments)
    jobs: list[Json] = []
    async with aclosing(pages(client, "/jobs", "jobs", query, limit=arguments.limit)) as portions:
        async for page in portions:
            jobs += page
    if arguments.as_json:
        for job in jobs:
            _print_json(job)
    else:
        print(jobs_table(jobs) if jobs else "There are no such jobs.", flush=True)
    return 0


async def show(client: Client, arguments: Namespace) -> int:
    """Print all that is known of a job."""
    job = await client.get(job_path(arguments.job_id))
    if arguments.as_json:
        _print_json(job)
    else:
        print(details(job), flush=True)
    return 0


async def cancel(client: Client, arguments: Namespace) -> int:
    """Cancel jobs; one that runs stops a little later."""

    def told(view: Json) -> str:
        return "will stop" if view.get("state") == "running" else plain(view.get("state"))

    tally = _Tally(client, "cancel", told, as_json=arguments.as_json)
    return await tally.ask_for(arguments.job_ids)


async def retry(client: Client, arguments: Namespace) -> int:
    """Do jobs again, as new ones."""

    def told(view: Json) -> str:
        return f"is done again as {plain(view.get('job_id'))}"

    tally = _Tally(client, "retry", told, as_json=arguments.as_json)
    return await tally.ask_for(arguments.job_ids)


async def redeliver(client: Client, arguments: Namespace) -> int:
    """Deliver callbacks once more: those of the jobs named, or all that are dead."""
    if arguments.since is not None and not arguments.dead:
        print("--since goes with --dead, not with the ids of jobs.", file=sys.stderr)
        return 2

    def told(_view: Json) -> str:
        return "will be delivered again"

    tally = _Tally(client, "callback/redeliver", told, as_json=arguments.as_json)
    code = await tally.ask_for(arguments.job_ids)
    if arguments.dead:
        query = {"callback": "dead"} | _since(arguments)
        async with aclosing(pages(client, "/jobs", "jobs", query)) as portions:
            async for page in portions:
                code = await tally.ask_for([str(job.get("job_id")) for job in page])
    if not arguments.as_json:
        print(f"To be delivered again: {tally.done}. Refused: {tally.refused}.", flush=True)
    return code


COMMANDS: Mapping[str, Command] = {
    "jobs list": list_jobs,
    "jobs show": show,
    "jobs cancel": cancel,
    "jobs retry": retry,
    "callbacks redeliver": redeliver,
    "usage": usage,
    "audit": audit,
}


@dataclass(slots=True)
class _Tally:
    """Asks for one thing to be done to many jobs, and counts the answers."""

    client: Client
    operation: str  # what follows a job's path
    told: Callable[[Json], str]  # what an answer is in words
    _: KW_ONLY
    as_json: bool
    done: int = 0
    refused: int = 0

    async def ask_for(self, job_ids: Sequence[str]) -> int:
        """Ask and print what the server says to each; return 1 once one was refused."""
        for job_id in job_ids:
            try:
                view = await self.client.post(f"{job_path(job_id)}/{self.operation}")
            except Refused as exc:
                self.refused += 1
                print(f"{plain(job_id)}  {plain(exc.message)}", file=sys.stderr)
                continue
            self.done += 1
            if self.as_json:
                _print_json(view)
            else:
                print(f"{plain(job_id)}  {self.told(view)}", flush=True)
        return 1 if self.refused else 0


def _since(arguments: Namespace) -> dict[str, str]:
    return {} if arguments.since is None else {"since": arguments.since.isoformat()}


def _print_json(document: Json) -> None:
    print(orjson.dumps(document).decode(), flush=True)
