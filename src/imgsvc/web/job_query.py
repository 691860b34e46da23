"""The queries of lists: of jobs, of a batch's items, of the audit log."""

import re
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from multidict import MultiMapping
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from imgsvc.jobs.audit import Action, AuditFilter
from imgsvc.jobs.items import ItemState
from imgsvc.jobs.models import CallbackState, JobFilter, JobKind, JobState
from imgsvc.web.validation import explain, wrong_field

MAX_PAGE = 200
"""Rows on one page of a list."""

_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")


def _time(text: str) -> datetime:
    """Return the time in UTC that a text stands for."""
    if _SECONDS.fullmatch(text):
        return datetime.fromtimestamp(float(text), UTC)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ValueError(
            "must be a time: ISO 8601 (in a URL, + is written %2B), or seconds since 1970"
        ) from exc
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


class JobQuery(BaseModel):
    """Which jobs to list, and from where on."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    state: JobState | None = None
    kind: JobKind | None = None
    callback: CallbackState | None = None
    since: Annotated[datetime, BeforeValidator(_time)] | None = None
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: str | None = None

    @property
    def wanted(self) -> JobFilter:
        """Which jobs."""
        return JobFilter(state=self.state, kind=self.kind, callback=self.callback, since=self.since)


class ItemQuery(BaseModel):
    """Which items of a batch to list, and from where on."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    state: ItemState | None = None
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: str | None = None


class AuditQuery(BaseModel):
    """Which rows of the audit log to list, and from where on."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    actor: str | None = Field(None, min_length=1, max_length=200)
    action: Action | None = None
    target: str | None = Field(None, min_length=1, max_length=100)
    outcome: str | None = Field(None, min_length=1, max_length=100)
    since: Annotated[datetime, BeforeValidator(_time)] | None = None
    until: Annotated[datetime, BeforeValidator(_time)] | None = None
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: str | None = None

    @property
    def wanted(self) -> AuditFilter:
        """Which rows."""
        return AuditFilter(
            actor=self.actor,
            action=self.action,
            target=self.target,
            outcome=self.outcome,
            since=self.since,
            until=self.until,
        )


Query = TypeVar("Query", JobQuery, ItemQuery, AuditQuery)


def parse_query(schema: type[Query], query: MultiMapping[str]) -> Query:
    """Return the query of a request; raise InvalidRequest, which names the parameters."""
    for name in query:
        if len(query.getall(name)) > 1:
            raise wrong_field(name, "was given more than once")
    try:
        return schema.model_validate(dict(query))
    except ValidationError as exc:
        raise explain(exc) from exc
