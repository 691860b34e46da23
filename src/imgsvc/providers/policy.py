"""What is done about each error of an image API: one table, and the operator's settings.

Nothing in here makes a call or waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from imgsvc.errors import (
    BudgetSpent,
    PriceUnknown,
    ProviderAccessDenied,
    ProviderBadAnswer,
    ProviderBusy,
    ProviderConnectionLost,
    ProviderError,
    ProviderKeyRejected,
    ProviderModelNotFound,
    ProviderNotConfigured,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRefusedContent,
    ProviderRefusedImage,
    ProviderRefusedParameter,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
)

JITTER = 0.2
"""By how much of itself a wait may get longer, so that not all come back at once."""

LONGEST_WAIT = 0.5
"""How much of the time that is left a wait may take: the call after it needs time too."""


class Reaction(StrEnum):
    """What is done in the end, when the call is not made again."""

    FALL_BACK = "fall_back"  # the local engine steps in, if the caller allows it
    FAIL_IF_ASKED = "fail_if_asked"  # so too, unless it is one that only steps in
    FAIL = "fail"  # the request itself is at fault: the caller has to know


class Effect(StrEnum):
    """What an error does to the circuit breaker."""

    OPENS = "opens"  # every other call would fail the same way
    COUNTS = "counts"  # so many in a row open it
    NONE = "none"  # says nothing about the next call


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What is done about one kind of error."""

    retries: int = 0  # how often the same call is made again, unless configured otherwise
    reaction: Reaction = Reaction.FALL_BACK
    breaker: Effect = Effect.NONE
    cost_unknown: bool = False  # the edit may have been made and billed
    alert: bool = False  # only the operator can mend it


POLICY: Mapping[type[ProviderError], Rule] = {
    # nobody to ask
    ProviderNotConfigured: Rule(),
    # nothing was asked: the wait for a turn would have taken too long
    ProviderBusy: Rule(),
    # nobody to pay: no call is made, and `budgets.when_spent` says what then
    BudgetSpent: Rule(),
    PriceUnknown: Rule(),
    # the account: no call will work before somebody has done something about it
    ProviderOutOfCredit: Rule(breaker=Effect.OPENS, alert=True),
    ProviderKeyRejected: Rule(breaker=Effect.OPENS, alert=True),
    ProviderAccessDenied: Rule(breaker=Effect.OPENS, alert=True),
    ProviderModelNotFound: Rule(breaker=Effect.OPENS),
    # nothing was done, and a little later it may work
    ProviderRateLimited: Rule(retries=5),
    ProviderServerError: Rule(retries=1, breaker=Effect.COUNTS),
    ProviderUnreachable: Rule(retries=1, breaker=Effect.COUNTS),
    # something may have been done: a repetition might be paid for twice
    ProviderTimeout: Rule(breaker=Effect.COUNTS, cost_unknown=True),
    ProviderConnectionLost: Rule(breaker=Effect.COUNTS, cost_unknown=True),
    ProviderBadAnswer: Rule(breaker=Effect.COUNTS, cost_unknown=True),
    # the request
    ProviderRefusedContent: Rule(reaction=Reaction.FAIL),
    ProviderRefusedImage: Rule(reaction=Reaction.FAIL_IF_ASKED),
    ProviderRefusedParameter: Rule(reaction=Reaction.FAIL_IF_ASKED),
}

RETRIES: Mapping[str, int] = {kind.code: rule.retries for kind, rule in POLICY.items()}
"""How often a call is made again, by error code, unless configured otherwise."""

REPEATABLE = tuple(code for code, retries in RETRIES.items() if retries)
"""The errors after which a call may be made again at all."""


class RoutingConfig(BaseModel):
    """What is done when the image API fails: waits, repetitions, and the circuit breaker."""

    model_config = ConfigDict(extra="forbid")

    retries: dict[str, Annotated[int, Field(ge=0, le=10)]] = Field(
        default={code: RETRIES[code] for code in REPEATABLE},
        description="How often a call is made again, by error code; 0 switches it off.",
    )
    first_wait: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds before the first repetition if the API asks for none; it doubles.",
    )
    max_wait: float = Field(
        300.0,
        gt=0,
        allow_inf_nan=False,
        description="Longest wait before a repetition, in seconds. If the API asks for more, the "
        "call is not repeated.",
    )
    failures_to_open: int = Field(
        5, ge=1, description="Failed calls in a row that open the breaker of a model."
    )
    open_seconds: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds from then to the first probe; they double with each one that fails.",
    )
    max_open_seconds: float = Field(
        600.0, gt=0, allow_inf_nan=False, description="Most seconds from one probe to the next."
    )

    @field_validator("retries")
    @classmethod
    def _complete(cls, given: dict[str, int]) -> dict[str, int]:
        """Refuse what cannot be repeated, and take the defaults for what is not named."""
        allowed = ", ".join(REPEATABLE)
        for code in given:
            if code not in RETRIES:
                raise ValueError(f"there is no error {code}; those to be repeated are {allowed}")
            if code not in REPEATABLE:
                raise ValueError(f"{code} is never repeated, only {allowed} are")
        return {code: given.get(code, RETRIES[code]) for code in REPEATABLE}


def retry_wait(
    error: ProviderError, config: RoutingConfig, *, retried: int, left: float, chance: float
) -> float | None:
    """Return how long to wait, in seconds, before a call is made again; None if it is not.

    `retried` is how often it was made again after such an error, `left` how many seconds
    the edit still has, and `chance` a random number from 0 to 1.
    """
    if retried >= config.retries.get(error.code, 0):
        return None
    wait = error.retry_after or min(config.first_wait * 2**retried, config.max_wait)
    if wait > config.max_wait:
        return None
    wait *= 1 + JITTER * chance
    return wait if wait <= LONGEST_WAIT * left else None
