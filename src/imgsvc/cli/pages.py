"""Lists of a running server, which come a page at a time."""

from collections.abc import AsyncGenerator, Mapping

from imgsvc.cli.client import Client
from imgsvc.cli.tables import Json

PAGE = 100
"""Rows that are asked for at a time."""


async def pages(
    client: Client, path: str, name: str, query: Mapping[str, str], *, limit: int | None = None
) -> AsyncGenerator[list[Json], None]:
    """Yield all rows that a list has, the newest first, or the first so many.

    `name` is what the rows are called in an answer.
    """
    cursor: dict[str, str] = {}
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        answer = await client.get(path, {**query, **cursor, "limit": str(size)})
        rows, following = answer.get(name), answer.get("next_cursor")
        if not isinstance(rows, list):
            raise client.stranger(200)
        yield rows
        if not isinstance(following, str):
            return
        cursor = {"cursor": following}
        left = None if left is None else left - len(rows)
