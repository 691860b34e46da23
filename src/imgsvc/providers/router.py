"""Which provider edits a picture, how often it is asked, and when the local engine steps in."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from time import monotonic

import structlog

from imgsvc.errors import (
    BudgetSpent,
    ImageProcessDied,
    ImgsvcError,
    ProviderError,
    ProviderRefusedContent,
)
from imgsvc.providers import pricing
from imgsvc.providers.base import (
    LOCAL,
    Account,
    Edited,
    EditRequest,
    EditResult,
    Observer,
    Provider,
    ProviderCall,
    ProviderRetry,
    Reservation,
)
from imgsvc.providers.breaker import Breaker, Breakers, BreakerState
from imgsvc.providers.catalogue import Catalogue, Choice
from imgsvc.providers.limiter import Limiter, Limits, Turn
from imgsvc.providers.local import LocalProvider
from imgsvc.providers.models import Model
from imgsvc.providers.policy import LONGEST_WAIT, POLICY, Reaction, RoutingConfig, retry_wait

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class EditRouter:
    """Asks the providers in turn, and the local engine last, as the policy says."""

    def __init__(
        self,
        providers: Sequence[Provider],
        local: LocalProvider,
        config: RoutingConfig,
        *,
        limits: Mapping[str, Limits] | None = None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.catalogue = Catalogue(providers)
        self._local = local
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self.breakers = Breakers(config, clock)
        given = limits or {}
        self.limiters: Mapping[str, Limiter] = {
            provider.name: Limiter(given.get(provider.name, Limits()), clock)
            for provider in providers
        }
        """Who waits for a provider and who is with it, by its name."""
        self.calls: Counter[tuple[str, str]] = Counter()
        """Calls that have ended, by provider and outcome."""
        self.costs: Counter[tuple[str, str]] = Counter()
        """What they have cost as far as that is known, in nano-dollars, by provider and model."""
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        """What providers have counted, by provider, model and kind: text, image or output."""

    async def edit(
        self,
        request: EditRequest,
        *,
        fallback_allowed: bool,
        until: float,
        observer: Observer,
        account: Account,
    ) -> EditResult:
        """Return the edited picture and who made it.

        `until` is when the picture must be done, as time.monotonic() counts: nothing waits
        past it. `account` pays for the calls. Raises ProviderError,
        InstructionNotUnderstood, ImageError or ImageProcessDied.
        """
        options, has_mask = request.options, request.mask is not None
        if options.model == LOCAL:
            return await self._local.edit(request)
        failed: ProviderError | None = None  # of who was asked first
        for choice in self.catalogue.choices(options, has_mask=has_mask):
            provider, model = choice.provider, choice.model
            try:
                edited = await self._ask(choice, request, until, observer, account)
            except ProviderError as error:
                if not fallback_allowed or _is_final(error):
                    raise
                _log.warning(
                    "provider_fallback", provider=provider.name, reason=error.code, error=error.kind
                )
                failed = failed or error
            else:
                return EditResult(
                    image=edited.image,
                    provider=provider.name,
                    model=model.name,
                    fallback_reason=None if failed is None else failed.code,
                )
        if failed is None:
            failed = self.catalogue.nobody()
            if not fallback_allowed:
                raise failed
            _log.warning("provider_fallback", reason=failed.code, error=failed.kind)
        return await self._local.edit(request, failed.code)

    async def _ask(
        self,
        choice: Choice,
        request: EditRequest,
        until: float,
        observer: Observer,
        account: Account,
    ) -> Edited:
        """Return the picture, after as many calls as the policy allows."""
        provider, model = choice.provider, choice.model
        limiter = self.limiters[provider.name]
        retried: Counter[str] = Counter()
        while True:
            breaker = self.breakers.of(provider.name, model.name)
            now = self._clock()
            turn = limiter.turn(until=now + LONGEST_WAIT * (until - now), check=breaker.check)
            async with turn as own:
                try:
                    paid = await account.reserve(
                        provider.name, model.name, pricing.estimate(model, request)
                    )
                    return await self._call(choice, request, breaker, own, paid, observer)
                except ProviderError as error:
                    self._tell_others(error, breaker, limiter)
                    wait = retry_wait(
                        error,
                        self._config,
                        retried=retried[error.code],
                        left=until - self._clock(),
                        chance=self._chance(),
                    )
                    if wait is None or not own.used or breaker.state is BreakerState.OPEN:
                        raise
                    retried[error.code] += 1
                    _note_retry(choice, error, wait, observer)
            await self._sleep(wait)

    def _tell_others(self, error: ProviderError, breaker: Breaker, limiter: Limiter) -> None:
        """Spare those who wait for the same provider what this call has met."""
        if error.retry_after:
            wait = min(error.retry_after, self._config.max_wait)
            limiter.hold_back(self._clock() + wait)
        if breaker.state is BreakerState.OPEN:
            limiter.look_again()

    async def _call(
        self,
        choice: Choice,
        request: EditRequest,
        breaker: Breaker,
        turn: Turn,
        paid: Reservation,
        observer: Observer,
    ) -> Edited:
        """Ask once, and note how it ended and what it has cost."""
        provider, model = choice.provider, choice.model
        admitted = _admit(breaker, paid)
        turn.used = True
        started, edited, error = self._clock(), None, None
        try:
            edited = await provider.edit(request, model, observer)
        except BaseException as exc:
            error = exc
            raise
        else:
            return edited
        finally:
            breaker.settle(admitted, error)
            call = ProviderCall(
                provider=provider.name,
                model=model.name,
                seconds=round(self._clock() - started, 3),
                waited=round(turn.waited, 3),
                error=None if error is None else _outcome(error),
                usage=None if edited is None else edited.usage,
                cost=_cost(model, edited, error),
                categories=error.categories if isinstance(error, ProviderRefusedContent) else (),
            )
            paid.settle(call)
            self._count(call)
            observer.provider_called(call)

    def _count(self, call: ProviderCall) -> None:
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


def _admit(breaker: Breaker, paid: Reservation) -> int:
    """Pass the breaker; what was set aside for the call is given back if it cannot be made."""
    try:
        return breaker.admit()
    except ProviderError:
        paid.cancel()
        raise


def _is_final(error: ProviderError) -> bool:
    """Tell whether nobody may step in."""
    if isinstance(error, BudgetSpent):
        return error.is_final
    return POLICY[type(error)].reaction is Reaction.FAIL


def _note_retry(choice: Choice, error: ProviderError, wait: float, observer: Observer) -> None:
    name, seconds = choice.provider.name, round(wait, 3)
    _log.info(
        "provider_retry",
        provider=name,
        model=choice.model.name,
        error=error.kind,
        wait=seconds,
    )
    observer.provider_retry(ProviderRetry(provider=name, error=error.code, wait=seconds))


def _outcome(error: BaseException) -> str:
    """Return the word that a call is counted under that gave nothing; there are few of them."""
    match error:
        case ImgsvcError():
            return error.code
        case asyncio.CancelledError():
            return "given_up"
        case _:
            return ImgsvcError.code


def _cost(model: Model, edited: Edited | None, error: BaseException | None) -> int | None:
    """Return what a call has cost, in nano-dollars; None if it may have been billed.

    One that was given up, at a deadline say, may have been; one that failed in here, with
    the picture before it was sent, was not. An image process can be lost with the answer.
    """
    if edited is not None:
        return pricing.cost(model, edited.usage)
    match error:
        case ProviderError():
            perhaps_billed = POLICY[type(error)].cost_unknown
        case ImageProcessDied():
            perhaps_billed = True
        case ImgsvcError():
            perhaps_billed = False
        case _:
            perhaps_billed = True
    return None if perhaps_billed and not pricing.is_free(model) else 0
