"""Which provider edits a picture, how often it is asked, and when the local engine steps in."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic

import structlog

from imgsvc.errors import (
    BudgetSpent,
    ProviderError,
    ProviderRefusedContent,
    ProviderTimeout,
)
from imgsvc.imaging.lines import gives_way
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
from imgsvc.providers.breaker import Breaker, Breakers
from imgsvc.providers.catalogue import Catalogue, Choice
from imgsvc.providers.figures import Figures, cost, outcome
from imgsvc.providers.limiter import Limiter, Limits, Turn
from imgsvc.providers.local import LocalProvider
from imgsvc.providers.policy import LONGEST_WAIT, POLICY, Reaction, RoutingConfig, retry_wait

LOCAL_SECONDS = 30.0
"""What the local engine gets of an edit's time, in seconds, if everybody else has failed."""

LOCAL_SHARE = 0.1
"""At most that much of it."""

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
        self.figures = Figures()

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
        past it, and calls end so early that the local engine can step in. `account` pays
        for the calls. Raises ProviderError, InstructionNotUnderstood, ImageError or
        ImageProcessDied.
        """
        options, has_mask = request.options, request.mask is not None
        if options.model == LOCAL:
            return await self._local.edit(request)
        failed: ProviderError | None = None  # of who was asked first
        left = until - self._clock()
        last = until - min(LOCAL_SECONDS, LOCAL_SHARE * left)
        for choice in self.catalogue.choices(options, has_mask=has_mask):
            provider, model = choice.provider, choice.model
            try:
                edited = await self._ask(choice, request, last, observer, account)
            except ProviderError as error:
                if not fallback_allowed or _is_final(error, is_asked=failed is None):
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
            _log.warning("provider_fallback", provider=None, reason=failed.code, error=failed.kind)
        return await self._local.edit(request, failed.code)

    async def _ask(
        self,
        choice: Choice,
        request: EditRequest,
        until: float,
        observer: Observer,
        account: Account,
    ) -> Edited:
        """Return the picture, after as many calls as the policy allows; they end by `until`."""
        breaker, limiter = self._breaker(choice), self.limiters[choice.provider.name]
        retried: Counter[str] = Counter()
        patience = self._half_way(until)  # with other calls, to end for less than was set aside
        while True:
            try:
                return await self._try(choice, request, until, observer, account)
            except BudgetSpent as error:
                await _money_freed(error, patience - self._clock())
                continue
            except ProviderError as error:
                if error.retry_after:
                    longest = self._config.max_open_seconds
                    limiter.hold_back(self._clock() + min(error.retry_after, longest))
                limiter.look_again()  # the breaker may have opened
                wait = retry_wait(
                    error,
                    self._config,
                    retried=retried[error.code],
                    left=until - self._clock(),
                    chance=self._chance(),
                )
                if wait is None or breaker.refuses:
                    raise
                retried[error.code] += 1
                _note_retry(choice, error, wait, observer)
            await self._sleep(wait)

    async def _try(
        self,
        choice: Choice,
        request: EditRequest,
        until: float,
        observer: Observer,
        account: Account,
    ) -> Edited:
        """Ask once, when its turn has come and if it can be paid."""
        provider, model = choice.provider, choice.model
        breaker, limiter = self._breaker(choice), self.limiters[provider.name]
        estimate = pricing.estimate(model, request)
        async with limiter.turn(
            until=self._half_way(until), check=breaker.check, gives_way=gives_way.get()
        ) as turn:
            paid = await account.reserve(provider.name, model.name, estimate)
            return await self._call(choice, request, until, turn, paid, observer)

    def _breaker(self, choice: Choice) -> Breaker:
        return self.breakers.of(choice.provider.name, choice.model.name)

    def _half_way(self, until: float) -> float:
        """Return when a wait has to end, so that the call after it has time too."""
        now = self._clock()
        return now + LONGEST_WAIT * (until - now)

    async def _call(
        self,
        choice: Choice,
        request: EditRequest,
        until: float,
        turn: Turn,
        paid: Reservation,
        observer: Observer,
    ) -> Edited:
        """Call the provider, and note how that ended and what it has cost."""
        provider, model, breaker = choice.provider, choice.model, self._breaker(choice)
        admitted = _admit(breaker, paid)
        turn.used = True
        started, edited, error = self._clock(), None, None
        try:
            async with _ending(until - started):
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
                error=None if error is None else outcome(error),
                usage=None if edited is None else edited.usage,
                cost=cost(model, edited, error),
                categories=error.categories if isinstance(error, ProviderRefusedContent) else (),
            )
            paid.settle(call)
            self.figures.add(call)
            observer.provider_called(call)


def _admit(breaker: Breaker, paid: Reservation) -> int:
    """Pass the breaker; what was set aside for the call is given back if it cannot be made."""
    try:
        return breaker.admit()
    except ProviderError:
        paid.cancel()
        raise


def _is_final(error: ProviderError, *, is_asked: bool) -> bool:
    """Tell whether nobody may step in; `is_asked`: it is of the one that was asked for."""
    if isinstance(error, BudgetSpent):
        return error.is_final
    reaction = POLICY[type(error)].reaction
    return reaction is Reaction.FAIL or (reaction is Reaction.FAIL_IF_ASKED and is_asked)


async def _money_freed(error: BudgetSpent, seconds: float) -> None:
    """Wait so long for money that is set aside to become free, or raise the error."""
    if error.freed is None or seconds <= 0:
        raise error
    try:
        async with asyncio.timeout(seconds):
            await error.freed.wait()
    except TimeoutError:
        raise error from None


@asynccontextmanager
async def _ending(seconds: float) -> AsyncIterator[None]:
    """Stop a call after so long, as if the provider had not answered in time."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise ProviderTimeout from exc


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
