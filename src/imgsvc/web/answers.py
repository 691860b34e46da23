"""JSON answers."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from imgsvc.killpoints import KillPoint, around


def json_response(document: dict[str, Any], *, status: int = 200) -> web.Response:
    """Return an answer with a JSON body."""
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


class AcceptedResponse(web.Response):
    """The promise that a job is recorded."""

    def __init__(self, document: dict[str, Any], *, headers: Mapping[str, str]) -> None:
        body = orjson.dumps(document)
        super().__init__(
            status=202, body=body, content_type="application/json", headers=dict(headers)
        )

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it."""
        with around(KillPoint.ANSWER_SENT):
            await super().write_eof(data)
