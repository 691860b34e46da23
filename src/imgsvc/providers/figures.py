"""How calls of providers have ended, and what they have cost: added up, and in the log."""

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass, field

import structlog

from imgsvc.errors import ImgsvcError, ProviderError
from imgsvc.providers import pricing
from imgsvc.providers.base import Edited, ProviderCall
from imgsvc.providers.models import Model
from imgsvc.providers.policy import POLICY

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Figures:
    """Sums since the start of the service."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Calls that have ended, by provider and outcome."""

    costs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What they have cost as far as that is known, in nano-dollars, by provider and model."""

    tokens: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """What providers have counted, by provider, model and kind: text, image or output."""

    def add(self, call: ProviderCall) -> None:
        """Add a call to the figures, and to the log."""
        self.calls[call.provider, call.error or "edited"] += 1
        if call.cost is not None:
            self.costs[call.provider, call.model] += call.cost
        usage = {} if call.usage is None else asdict(call.usage)
        for kind, count in usage.items():
            self.tokens[call.provider, call.model, kind.removesuffix("_tokens")] += count
        _log.info(
            "provider_billed",
            provider=call.provider,
            model=call.model,
            cost_usd=None if call.cost is None else pricing.in_usd(call.cost),
            usage=usage,
        )


def outcome(error: BaseException) -> str:
    """Return the word that a call is counted under that gave nothing; there are few of them."""
    match error:
        case ImgsvcError():
            return error.code
        case asyncio.CancelledError():
            return "given_up"
        case _:
            return ImgsvcError.code


def cost(model: Model, edited: Edited | None, error: BaseException | None) -> int | None:
    """Return what a call has cost, in nano-dollars; None if it may have been billed.

    One that was given up, at a deadline say, may have been. What goes wrong in here, in an
    image process, is free before the picture is sent, and may be billed after the answer.
    """
    if edited is not None:
        return pricing.cost(model, edited.usage)
    match error:
        case ProviderError():
            perhaps_billed = POLICY[type(error)].cost_unknown
        case ImgsvcError():
            perhaps_billed = error.after_answer
        case _:
            perhaps_billed = True
    return None if perhaps_billed and not pricing.is_free(model) else 0
