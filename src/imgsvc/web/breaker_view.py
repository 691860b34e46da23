"""The circuit breakers of image APIs, as health checks show them."""

from typing import Any

from pydantic import BaseModel, Field

from imgsvc.providers import Breakers, BreakerState, BreakerStatus


class BreakerView(BaseModel):
    """A circuit breaker that is not closed: the image API is not asked for this model."""

    provider: str = Field(description="The image API: `openai`, say.")
    model: str = Field(description="The model that it was asked for.")
    state: BreakerState
    reason: str | None = Field(
        None, description="The code of the error that opened it, `provider_out_of_credit` say."
    )
    probe_in: float | None = Field(
        None, description="Seconds until the next call that may be made; only while `open`."
    )


def not_closed(breakers: Breakers) -> list[dict[str, Any]]:
    """Return the JSON documents of all breakers that hold calls back."""
    return [
        _view(status).model_dump(mode="json", exclude_none=True)
        for status in breakers.statuses()
        if status.state is not BreakerState.CLOSED
    ]


def _view(status: BreakerStatus) -> BreakerView:
    return BreakerView(
        provider=status.provider,
        model=status.model,
        state=status.state,
        reason=status.reason,
        probe_in=None if status.probe_in is None else round(status.probe_in, 1),
    )
