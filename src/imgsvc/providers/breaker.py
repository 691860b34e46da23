"""Circuit breakers: what cannot work is not tried over and over.

    closed ── an error that opens, or several in a row ──► open
    open ── after some seconds ──► half-open: one call at a time, the probe
    half-open ── the probe works ──► closed
    half-open ── it fails ──► open, for twice as long

Nothing in here waits: a breaker is asked before each call and told afterwards, in one
event loop, so that it needs no lock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

import structlog

from imgsvc.errors import ProviderError, ProviderKeyRejected
from imgsvc.providers.policy import POLICY, Effect, RoutingConfig

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"  # all do
    HALF_OPEN = "half_open"  # one at a time, to see whether it works again
    OPEN = "open"  # none does


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerStatus:
    """How a breaker stands."""

    provider: str
    model: str
    state: BreakerState
    reason: str | None = None  # the code of the error that opened it, until it closes
    probe_in: float | None = None  # seconds to the next probe, while it is open


class Breaker:
    """Stands between the router and one model of one provider."""

    def __init__(
        self, provider: str, model: str, config: RoutingConfig, clock: Callable[[], float]
    ) -> None:
        self._provider = provider
        self._model = model
        self._config = config
        self._clock = clock
        self._failures = 0  # in a row, while it is closed
        self._opened_by: tuple[type[ProviderError], str] | None = None  # and its message
        self._open_seconds = config.open_seconds
        self._probe_at = 0.0
        self._probing = False
        self._openings = 0

    @property
    def state(self) -> BreakerState:
        """How it stands now."""
        if self._opened_by is None:
            return BreakerState.CLOSED
        waits = not self._probing and self._clock() < self._probe_at
        return BreakerState.OPEN if waits else BreakerState.HALF_OPEN

    @property
    def status(self) -> BreakerStatus:
        """How it stands now, and why."""
        state = self.state
        is_open = state is BreakerState.OPEN
        return BreakerStatus(
            provider=self._provider,
            model=self._model,
            state=state,
            reason=None if self._opened_by is None else self._opened_by[0].code,
            probe_in=max(0.0, self._probe_at - self._clock()) if is_open else None,
        )

    @property
    def refuses(self) -> bool:
        """Whether no call would be let through now."""
        return self._opened_by is not None and (self._probing or self.state is BreakerState.OPEN)

    def check(self) -> None:
        """Raise the error that opened the breaker if no call may be made."""
        if self._opened_by is not None and self.refuses:
            kind, message = self._opened_by
            raise kind(f"{message} It was not asked again: the circuit breaker is open.")

    def admit(self) -> int:
        """Let a call through, and return what `settle` wants to know it by.

        Raises what `check` raises.
        """
        self.check()
        self._probing = self._opened_by is not None
        return self._openings

    def settle(self, admitted: int, error: BaseException | None) -> None:
        """Note how a call has ended that was let through; without an error it worked."""
        if admitted != self._openings:
            return  # it was begun before the breaker opened, and says nothing about now
        was_probe, self._probing = self._probing, False
        if error is None:
            self._close()
        elif isinstance(error, ProviderError):
            effect = POLICY[type(error)].breaker
            self._failures += effect is Effect.COUNTS
            enough = was_probe or self._failures >= self._config.failures_to_open
            if effect is Effect.OPENS or (effect is Effect.COUNTS and enough):
                self._open(error, again=was_probe)

    def try_new_key(self) -> None:
        """Let the next call show at once whether a new key works, if the old one was rejected."""
        if self._opened_by is not None and self._opened_by[0] is ProviderKeyRejected:
            self._probe_at = self._clock()

    def _open(self, error: ProviderError, *, again: bool) -> None:
        first, longest = self._config.open_seconds, self._config.max_open_seconds
        self._open_seconds = min(2 * self._open_seconds, longest) if again else first
        self._probe_at = self._clock() + self._open_seconds
        # Not the error itself: its traceback would keep the picture in memory.
        self._opened_by = type(error), error.message
        self._openings += 1
        log = _log.bind(provider=self._provider, model=self._model, seconds=self._open_seconds)
        if POLICY[type(error)].alert:
            log.error("breaker_opened", error=error.kind)
        else:
            log.warning("breaker_opened", error=error.kind)

    def _close(self) -> None:
        self._failures = 0
        if self._opened_by is not None:
            self._opened_by = None
            _log.info("breaker_closed", provider=self._provider, model=self._model)


class Breakers:
    """The breakers of all models that were asked for."""

    def __init__(self, config: RoutingConfig, clock: Callable[[], float] = monotonic) -> None:
        self._config = config
        self._clock = clock
        self._known: dict[tuple[str, str], Breaker] = {}

    def of(self, provider: str, model: str) -> Breaker:
        """Return the breaker of this model."""
        key = provider, model
        if key not in self._known:
            self._known[key] = Breaker(provider, model, self._config, self._clock)
        return self._known[key]

    def try_new_keys(self) -> None:
        """Let a call through wherever a rejected key has opened the breaker."""
        for breaker in self._known.values():
            breaker.try_new_key()

    def statuses(self) -> list[BreakerStatus]:
        """Return how each stands."""
        return [breaker.status for breaker in self._known.values()]
