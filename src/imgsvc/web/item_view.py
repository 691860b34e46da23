"""The items of a batch as callers see them: the rows of its manifest, at any time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from imgsvc.jobs.items import Item, ItemState
from imgsvc.jobs.manifest import row


class ItemView(BaseModel):
    """What has become of one object of a batch."""

    input_key: str = Field(description="The object, in the input bucket.")
    state: ItemState
    output_key: str | None = Field(None, description="Its result, in the output bucket.")
    provider: str | None = Field(None, description="Who edited it.")
    model: str | None = Field(None, description="The model that did; the local engine has none.")
    fallback_reason: str | None = Field(
        None, description="Why another one edited it than was asked for: a stable code."
    )
    operations: list[str] | None = Field(
        None, description="What the local engine did, in order. Only if it edited."
    )
    ignored: list[str] | None = Field(
        None, description="Words of the prompt that it did not understand. Only if it edited."
    )
    error: str | None = Field(
        None, description="Why there is no result: `Kind: what happened and what to do`."
    )
    bytes: int | None = Field(None, description="The size of the result.")
    attempts: int | None = Field(None, description="How often it was begun; absent if never.")
    started_at: datetime | None = Field(None, description="When, the last time.")
    finished_at: datetime | None = Field(None, description="When it ended, if it was begun.")
    seconds: float = Field(description="How long it took.")
    cost_usd: float | None = Field(
        None,
        description="What the calls for it have cost, in US dollars, as far as that is known;"
        " absent if nothing was called.",
    )
    cost_unknown: bool | None = Field(None, description="True if that is not all.")


class ItemPage(BaseModel):
    """A page of the items of a batch, in the order of the listing."""

    items: list[ItemView]
    next_cursor: str | None = Field(
        None, description="Give it as `cursor` for the next page; absent on the last one."
    )


def items_view(items: Sequence[Item], next_cursor: str | None) -> dict[str, Any]:
    """Return the JSON document of a page of items."""
    page = ItemPage(
        items=[ItemView.model_validate(row(item)) for item in items], next_cursor=next_cursor
    )
    return page.model_dump(mode="json", exclude_none=True)
