"""What calls of image APIs have cost, added up."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from imgsvc.jobs.ledger import MAX_ROWS, Grouping, UsageFilter, UsageReport, UsageRow
from imgsvc.providers.pricing import in_usd
from imgsvc.web.answers import json_response
from imgsvc.web.auth.principal import PRINCIPAL
from imgsvc.web.keys import CONTEXT
from imgsvc.web.validation import explain, wrong_field

DEFAULT_DAYS = 30
"""Days of a report that names none, today included."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _date(text: str) -> date:
    try:
        if _DAY.fullmatch(text):  # date takes weeks too, and days without hyphens
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError("must be a day like 2026-11-25")


class _UsageQuery(BaseModel):
    """Which days to add up, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    first: Annotated[date, BeforeValidator(_date)] | None = Field(None, alias="from")
    last: Annotated[date, BeforeValidator(_date)] | None = Field(None, alias="to")
    group_by: Grouping = Grouping.DAY


class UsageView(BaseModel):
    """What so many calls of image APIs have cost."""

    calls: int = Field(description="Calls that have ended, in whatever way.")
    images: int = Field(description="Images that they gave.")
    text_tokens: int = Field(description="Tokens of prompts, as far as the image API tells.")
    image_tokens: int = Field(description="Tokens of images that were sent, as far as it tells.")
    output_tokens: int = Field(description="Tokens of images that were made, as far as it tells.")
    cost_usd: float = Field(description="What they have cost, in US dollars, if it is known.")
    unknown_calls: int = Field(
        description="Calls whose cost is not known: they may have been billed, or have no price."
    )
    held_usd: float = Field(
        description="What is set aside for those, and for calls under way, in US dollars."
    )


class UsageRowView(UsageView):
    """What the calls of one day, client or model have cost."""

    day: str | None = Field(None, description="The day, by UTC; with `group_by=day`.")
    client: str | None = Field(
        None, description="The address that the requests came from; with `group_by=client`."
    )
    provider: str | None = Field(None, description="The image API; with `group_by=model`.")
    model: str | None = Field(None, description="Its model; with `group_by=model`.")


class UsageReportView(BaseModel):
    """What calls of image APIs have cost, by day, client or model."""

    first: str = Field(alias="from", description="The first day that is counted, by UTC.")
    last: str = Field(alias="to", description="The last day that is counted, by UTC.")
    group_by: Grouping
    rows: list[UsageRowView] = Field(
        description=f"By day, or the most expensive first; {MAX_ROWS:,} at most."
    )
    total: UsageView  # of all calls, those too for which there was no row left


async def get_usage(request: web.Request) -> web.Response:
    """Add up what calls have cost."""
    wanted = usage_filter(request.query, today=datetime.now(UTC).date())
    wanted = replace(wanted, client=request[PRINCIPAL].sees_only)
    report = await request.app[CONTEXT].backend.ledger.usage(wanted)
    return json_response(usage_view(wanted, report))


def usage_filter(query: MultiMapping[str], *, today: date) -> UsageFilter:
    """Return what a query asks for; raise InvalidRequest, which names the parameters."""
    for name in query:
        if len(query.getall(name)) > 1:
            raise wrong_field(name, "was given more than once")
    try:
        given = _UsageQuery.model_validate(dict(query))
    except ValidationError as exc:
        raise explain(exc) from exc
    last = given.last or max(today, given.first or today)
    # The calendar has a beginning, and nothing is known of it.
    back = min(timedelta(days=DEFAULT_DAYS - 1), last - date.min)
    first = given.first or last - back
    if first > last:
        raise wrong_field("from", "is behind `to`")
    return UsageFilter(first=first, last=last, group_by=given.group_by)


def usage_view(wanted: UsageFilter, report: UsageReport) -> dict[str, Any]:
    """Return the JSON document of a report."""
    view = UsageReportView.model_validate(
        {
            "from": wanted.first.isoformat(),
            "to": wanted.last.isoformat(),
            "group_by": wanted.group_by,
            "rows": [_sums(row) | _keys(row) for row in report.rows],
            "total": _sums(report.total),
        }
    )
    return view.model_dump(mode="json", exclude_none=True, by_alias=True)


def _keys(row: UsageRow) -> dict[str, Any]:
    return {"day": row.day, "client": row.client, "provider": row.provider, "model": row.model}


def _sums(row: UsageRow) -> dict[str, Any]:
    return {
        "calls": row.calls,
        "images": row.images,
        "text_tokens": row.text_tokens,
        "image_tokens": row.image_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": in_usd(row.cost),
        "unknown_calls": row.unknown_calls,
        "held_usd": in_usd(row.held),
    }
