"""`imgsvc audit`: who did what to jobs and keys of a running server."""

from argparse import Namespace
from contextlib import aclosing

import orjson

from imgsvc.cli.client import Client
from imgsvc.cli.pages import pages
from imgsvc.cli.tables import Json, table

_COLUMNS = {
    "number": "NUMBER",
    "at": "AT",
    "actor": "ACTOR",
    "proof": "PROOF",
    "key_id": "KEY",
    "address": "ADDRESS",
    "action": "ACTION",
    "target": "TARGET",
    "outcome": "OUTCOME",
}
"""Fields of a row, and the titles above them."""


async def audit(client: Client, arguments: Namespace) -> int:
    """Print the newest rows of those asked for."""
    wanted = {
        "actor": arguments.actor,
        "action": arguments.action,
        "target": arguments.target,
        "outcome": arguments.outcome,
        "since": None if arguments.since is None else arguments.since.isoformat(),
        "until": None if arguments.until is None else arguments.until.isoformat(),
    }
    query = {name: value for name, value in wanted.items() if value is not None}
    rows: list[Json] = []
    found = pages(client, "/audit", "rows", query, limit=arguments.limit)
    async with aclosing(found) as portions:
        async for portion in portions:
            rows += portion
    if arguments.as_json:
        for row in rows:
            print(orjson.dumps(row).decode(), flush=True)
        return 0
    cells = [[row.get(column) for column in _COLUMNS] for row in rows]
    print(table([*_COLUMNS.values()], cells) if rows else "There are no such rows.", flush=True)
    return 0
