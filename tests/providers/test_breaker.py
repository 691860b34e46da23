import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs

from imgsvc.errors import (
    CorruptImage,
    ProviderError,
    ProviderKeyRejected,
    ProviderModelNotFound,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRefusedContent,
    ProviderServerError,
    ProviderTimeout,
)
from imgsvc.providers import BreakerState, RoutingConfig
from imgsvc.providers.breaker import Breaker

FIRST, LONGEST, ENOUGH = 30.0, 100.0, 3  # seconds, seconds, failures
CONFIG = RoutingConfig(open_seconds=FIRST, max_open_seconds=LONGEST, failures_to_open=ENOUGH)

OPENS = [ProviderOutOfCredit, ProviderKeyRejected, ProviderModelNotFound]
COUNTS = [ProviderServerError, ProviderTimeout]
SAYS_NOTHING = [ProviderRateLimited, ProviderRefusedContent, CorruptImage]


class Clock:
    """Time that a test moves on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_breaker() -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker("openai", "gpt-image-2", CONFIG, clock), clock


def call(breaker: Breaker, error: BaseException | None = None) -> None:
    """Make a call that ends so."""
    breaker.settle(breaker.admit(), error)


def test_probes_that_fail_come_ever_less_often_up_to_a_maximum() -> None:
    breaker, clock = make_breaker()
    spans = []
    call(breaker, ProviderOutOfCredit())
    for _ in range(5):
        assert breaker.status.probe_in is not None
        spans.append(breaker.status.probe_in)
        clock.now += breaker.status.probe_in
        call(breaker, ProviderServerError())
    assert spans == [30, 60, 100, 100, 100]


def test_a_breaker_that_has_closed_begins_with_the_first_span_again() -> None:
    breaker, clock = make_breaker()
    for error in (ProviderOutOfCredit(), ProviderOutOfCredit(), None, ProviderOutOfCredit()):
        clock.now += LONGEST
        call(breaker, error)
    assert breaker.status.probe_in == FIRST


def test_a_new_key_is_tried_at_once_where_the_old_one_was_rejected_and_nowhere_else() -> None:
    for error in (ProviderKeyRejected(), ProviderOutOfCredit()):
        breaker, _ = make_breaker()
        call(breaker, error)
        breaker.try_new_key()
        assert breaker.refuses is isinstance(error, ProviderOutOfCredit)
    breaker, _ = make_breaker()
    breaker.try_new_key()
    assert breaker.state is BreakerState.CLOSED


def test_the_reason_is_that_of_the_newest_probe() -> None:
    breaker, clock = make_breaker()
    call(breaker, ProviderOutOfCredit())
    clock.now += FIRST
    call(breaker, ProviderTimeout("The newest."))
    assert breaker.status.reason == "provider_timeout"
    with pytest.raises(ProviderTimeout, match=r"^The newest\. It was not asked again"):
        breaker.admit()


def test_a_breaker_keeps_nothing_of_the_error_but_its_kind_and_message() -> None:
    breaker, _ = make_breaker()
    error = ProviderOutOfCredit()
    call(breaker, error)
    for _ in range(2):
        with pytest.raises(ProviderOutOfCredit) as raised:
            breaker.admit()
        assert raised.value is not error
        assert raised.value.__context__ is None


@pytest.mark.parametrize(
    ("error", "level"),
    [(ProviderKeyRejected(), "error"), (ProviderModelNotFound(), "warning")],
)
def test_what_only_an_operator_can_mend_is_logged_as_an_error(
    error: ProviderError, level: str
) -> None:
    breaker, _ = make_breaker()
    with capture_logs() as logs:
        call(breaker, error)
    assert [(line["event"], line["log_level"]) for line in logs] == [("breaker_opened", level)]


class BreakerMachine(RuleBasedStateMachine):
    """Any interleaving of calls, endings and time, against the rules in plain words."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.clock = make_breaker()
        self.reason: type[ProviderError] | None = None  # set while it is not closed
        self.failures = 0
        self.probe: int | None = None  # the number of the call that is one
        self.span = FIRST
        self.probe_at = 0.0
        self.openings = 0
        self.number = 0

    @property
    def may_call(self) -> bool:
        return self.reason is None or (self.probe is None and self.clock.now >= self.probe_at)

    @precondition(lambda self: self.may_call)
    @rule(target=calls)
    def begin(self) -> tuple[int, int, int]:
        self.number += 1
        if self.reason is not None:
            self.probe = self.number
        return self.number, self.openings, self.breaker.admit()

    @precondition(lambda self: not self.may_call)
    @rule(target=calls)
    def begin_in_vain(self) -> object:
        assert self.reason is not None
        with pytest.raises(self.reason):
            self.breaker.admit()
        return multiple()

    @rule(call=consumes(calls))
    def works(self, call: tuple[int, int, int]) -> None:
        number, began_in, admitted = call
        self.breaker.settle(admitted, None)
        if began_in == self.openings:
            assert self.probe in {None, number}
            self.reason, self.probe, self.failures = None, None, 0

    @rule(call=consumes(calls), kind=st.sampled_from(OPENS + COUNTS))
    def fails(self, call: tuple[int, int, int], kind: type[ProviderError]) -> None:
        number, began_in, admitted = call
        self.breaker.settle(admitted, kind())
        if began_in != self.openings:
            return
        self.failures += kind in COUNTS
        was_probe, self.probe = self.probe == number, None
        if was_probe or kind in OPENS or self.failures >= ENOUGH:
            self.span = min(2 * self.span, LONGEST) if was_probe else FIRST
            self.probe_at = self.clock.now + self.span
            self.reason, self.openings = kind, self.openings + 1

    @rule(call=consumes(calls), kind=st.sampled_from([*SAYS_NOTHING, BaseException]))
    def ends_otherwise(self, call: tuple[int, int, int], kind: type[BaseException]) -> None:
        number, _, admitted = call
        self.breaker.settle(admitted, kind())
        if self.probe == number:
            self.probe = None

    @rule(seconds=st.sampled_from([1.0, FIRST - 1, FIRST, LONGEST]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def it_says_how_it_stands(self) -> None:
        status = self.breaker.status
        if self.reason is None:
            assert (status.state, status.reason) == (BreakerState.CLOSED, None)
            return
        waits = self.probe is None and self.clock.now < self.probe_at
        assert status.state is (BreakerState.OPEN if waits else BreakerState.HALF_OPEN)
        assert status.reason == self.reason.code
        assert status.probe_in == (self.probe_at - self.clock.now if waits else None)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=40, stateful_step_count=40)


@pytest.mark.slow
def test_a_thousand_runs_show_no_difference() -> None:
    run_state_machine_as_test(
        BreakerMachine, settings=settings(max_examples=1000, stateful_step_count=40)
    )
