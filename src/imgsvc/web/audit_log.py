"""The audit log, as admins see it."""

from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from imgsvc.jobs.audit import Action, AuditRow
from imgsvc.web.answers import json_response
from imgsvc.web.job_query import AuditQuery, parse_query
from imgsvc.web.keys import CONTEXT


class AuditRowView(BaseModel):
    """Who did what."""

    number: int = Field(description="From 1, without gaps but for what the retention has taken.")
    at: datetime = Field(description="When.")
    actor: str = Field(description="The client; of a command `cli:` and the user who ran it.")
    proof: str = Field(
        description="How it has proved that: `none`, `api_key` or `jwt`; `cli` of a command."
    )
    key_id: str | None = Field(None, description="The id of its API key.")
    address: str | None = Field(None, description="The address that the request came from.")
    request_id: str | None = Field(None, description="The `X-Request-Id` of the request.")
    action: Action
    target: str | None = Field(None, description="The id of the job or key.")
    outcome: str = Field(description="`done`, or the code of the problem that it met.")
    details: dict[str, Any] = Field(
        description="What else there is to know: whose job it is, the roles of a new key."
    )


class AuditPage(BaseModel):
    """A page of the audit log, the newest row first."""

    rows: list[AuditRowView]
    next_cursor: str | None = Field(
        None, description="Give it as `cursor` for the next page; absent on the last one."
    )


async def list_rows(request: web.Request) -> web.Response:
    """List who did what, the newest first, a page at a time."""
    context = request.app[CONTEXT]
    query = parse_query(AuditQuery, request.query)
    wanted = query.wanted
    before = None if query.cursor is None else context.cursors.decode(query.cursor, wanted)
    rows = await context.backend.audit.page(wanted, before=before, limit=query.limit + 1)
    page = rows[: query.limit]
    more = len(rows) > len(page)
    following = context.cursors.encode(page[-1].number, wanted) if more else None
    view = AuditPage(rows=[_view(row) for row in page], next_cursor=following)
    return json_response(view.model_dump(mode="json", exclude_none=True))


def _view(row: AuditRow) -> AuditRowView:
    entry, actor = row.entry, row.entry.actor
    return AuditRowView(
        number=row.number,
        at=row.at,
        actor=actor.name,
        proof=actor.proof,
        key_id=actor.key_id,
        address=actor.address,
        request_id=actor.request_id,
        action=entry.action,
        target=entry.target,
        outcome=entry.outcome,
        details=dict(entry.details),
    )
