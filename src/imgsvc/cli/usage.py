"""`imgsvc usage`: what calls of image APIs have cost."""

from argparse import Namespace
from typing import Any

import orjson

from imgsvc.cli.client import Client
from imgsvc.cli.tables import Json, table

_SUMS = ("calls", "images", "text_tokens", "image_tokens", "output_tokens")
_KEYS = {"day": ("day",), "client": ("client",), "model": ("provider", "model")}


async def usage(client: Client, arguments: Namespace) -> int:
    """Print the sums of the days asked for."""
    wanted = {"from": arguments.first, "to": arguments.last, "group_by": arguments.group_by}
    query = {name: value for name, value in wanted.items() if value is not None}
    report = await client.get("/usage", query)
    rows, total = report.get("rows"), report.get("total")
    if not isinstance(rows, list) or not isinstance(total, dict):
        raise client.stranger(200)
    if arguments.as_json:
        print(orjson.dumps(report).decode(), flush=True)
        return 0
    keys = _KEYS[arguments.group_by]
    titles = [*keys, *_SUMS, "cost_usd", "unknown_calls", "held_usd"]
    lines = [[row.get(key) for key in keys] + _sums(row) for row in rows]
    lines += [["total", *[None] * (len(keys) - 1), *_sums(total)]]
    print(table([title.upper() for title in titles], lines), flush=True)
    return 0


def _sums(row: Json) -> list[Any]:
    return [
        *(row.get(name) for name in _SUMS),
        _usd(row.get("cost_usd")),
        row.get("unknown_calls"),
        _usd(row.get("held_usd")),
    ]


def _usd(value: object) -> object:
    """Return dollars with as many places as the server counts."""
    return f"{value:.6f}" if isinstance(value, int | float) else value
