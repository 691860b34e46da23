"""The body of a request for a batch, and the answer to a dry run, as callers see them."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from imgsvc.errors import InvalidObjectKey
from imgsvc.jobs.globs import Globs
from imgsvc.storage.keys import MAX_PREFIX_BYTES, check_key
from imgsvc.web.schemas import ToolRequest
from imgsvc.web.unpack import LISTS


def _check_keys(keys: list[str]) -> list[str]:
    """Return the keys in order, each once."""
    for key in keys:
        try:
            check_key(key)
        except InvalidObjectKey as exc:
            raise ValueError(f"{key[:100]!r} cannot be an object's key: {exc.message}") from exc
    return sorted(set(keys))


def _check_pattern(pattern: str) -> str:
    Globs([pattern])
    return pattern


_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def rfc3339(text: Any) -> datetime:
    """Return the time that a text of RFC 3339 stands for; raise ValueError for all else."""
    try:
        if isinstance(text, str) and _TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper())
    except ValueError:
        pass
    raise ValueError("must be a time with its offset from UTC, like 2026-11-25T00:00:00+01:00")


_Keys = Annotated[
    list[str],
    Field(min_length=1, max_length=LISTS["keys"], fail_fast=True),
    AfterValidator(_check_keys),
]
_Pattern = Annotated[str, Field(max_length=200), AfterValidator(_check_pattern)]
_Patterns = Annotated[
    list[_Pattern], Field(min_length=1, max_length=LISTS["include"], fail_fast=True)
]
_BucketName = Annotated[str, Field(min_length=1, max_length=63)]


class BatchRequest(ToolRequest):
    """What to change in which images of the input bucket."""

    input_prefix: str | None = Field(
        None,
        max_length=MAX_PREFIX_BYTES,
        description=(
            "Which images: those in this folder of the input bucket and below. Without it, the"
            " configured folder."
        ),
        examples=["input/spring/"],
    )
    keys: _Keys | None = Field(
        None,
        description=(
            "Just these images, by their full object keys, in place of a folder: without"
            " input_prefix, include, exclude and since. One that is not there fails."
        ),
        examples=[["input/spring/a.png", "input/spring/b.png"]],
    )
    include: _Patterns | None = Field(
        None,
        description=(
            "Only images whose path below the folder fits one of these patterns: `*` is anything"
            " within a folder, `**` also across folders, `?` one character, `[...]` one of these."
            " Upper and lower case differ."
        ),
        examples=[["**/*.png"]],
    )
    exclude: _Patterns | None = Field(
        None,
        description="No images whose path below the folder fits one of these patterns.",
        examples=[["drafts/**"]],
    )
    since: Annotated[datetime, BeforeValidator(rfc3339)] | None = Field(
        None,
        description=(
            "Only images modified at this time or later: RFC 3339, with the offset from UTC."
        ),
        examples=["2026-11-25T00:00:00+01:00"],
    )
    limit: int | None = Field(
        None, ge=1, description="At most so many images, the first in the order of their keys."
    )
    input_bucket: _BucketName | None = Field(
        None,
        description="Another bucket to read from, if the server allows it. Rarely needed.",
    )
    output_bucket: _BucketName | None = Field(
        None,
        description="Another bucket to write to, if the server allows it. Rarely needed.",
    )
    output_prefix: str | None = Field(
        None,
        max_length=MAX_PREFIX_BYTES,
        description=(
            "Where results go: below this prefix, in a folder named by the job id. Without it, the"
            " configured prefix."
        ),
        examples=["output/"],
    )
    concurrency: int | None = Field(
        None, ge=1, description="How many images to have in work at once. Rarely needed."
    )
    dry_run: bool | None = Field(
        None,
        description=(
            "If true, nothing is edited and no callback comes: the answer says at once what would"
            " be done and what it may cost. Leave it out to have images edited."
        ),
    )

    @model_validator(mode="after")
    def _names_or_selects(self) -> "BatchRequest":
        if self.keys is not None:
            for name in ("input_prefix", "include", "exclude", "since"):
                if getattr(self, name) is not None:
                    raise ValueError(f"give keys or {name}, not both")
        return self


class DryRun(BaseModel):
    """What a batch would do; nothing was done."""

    dry_run: Literal[True] = Field(description="Always true.")
    complete: bool = Field(description="False if there was no time to look at all objects.")
    note: str | None = Field(None, description="Why not, in words; only if it is not complete.")
    images: int = Field(description="Objects that would be edited, by the look of their names.")
    skipped: int = Field(description="Files among the selected that are no images.")
    failed: int = Field(description="Keys that would fail at once: there is no such object, say.")
    bytes: int = Field(description="Size of the images together.")
    first_keys: list[str] = Field(description="The keys of the first 20 images.")
    errors: list[str] = Field(description="A line for each of the first 20 keys that would fail.")
    estimated_cost_usd: float | None = Field(
        None,
        description="The most that the edits may cost, in US dollars, if each takes one call of the"
        " model asked for; absent if its price is not known.",
    )
