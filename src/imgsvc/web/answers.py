"""JSON answers."""

from typing import Any

import orjson
from aiohttp import web


def json_response(document: dict[str, Any], *, status: int = 200) -> web.Response:
    """Return an answer with a JSON body."""
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
