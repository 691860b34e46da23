from pathlib import Path

import pytest

from imgsvc.config import load_settings
from imgsvc.errors import ConfigurationError, ProviderError, ProviderRateLimited
from imgsvc.providers import RoutingConfig
from imgsvc.providers.policy import POLICY, REPEATABLE, Effect, Reaction, Rule, retry_wait

each_rule = pytest.mark.parametrize(("kind", "rule"), POLICY.items())


@each_rule
def test_what_may_have_been_billed_is_never_repeated(kind: type[ProviderError], rule: Rule) -> None:
    assert not (rule.cost_unknown and kind.code in REPEATABLE)


@each_rule
def test_a_request_at_fault_says_nothing_about_the_next_one(
    kind: type[ProviderError], rule: Rule
) -> None:
    if rule.reaction is Reaction.FAIL:
        assert (kind.code in REPEATABLE, rule.breaker) == (False, Effect.NONE)


@each_rule
def test_what_opens_the_breaker_is_not_repeated(kind: type[ProviderError], rule: Rule) -> None:
    if rule.breaker is Effect.OPENS:
        assert kind.code not in REPEATABLE


@pytest.mark.parametrize("retried", [5, 6])
def test_no_call_is_made_again_more_often_than_configured(retried: int) -> None:
    error = ProviderRateLimited(retry_after=1)
    assert retry_wait(error, RoutingConfig(), retried=retried, left=600, chance=0) is None


@pytest.mark.parametrize("left", [0, -1])
def test_nothing_is_repeated_once_the_time_is_over(left: float) -> None:
    error = ProviderRateLimited()
    assert retry_wait(error, RoutingConfig(), retried=0, left=left, chance=0) is None


def configured(path: Path, routing: str) -> RoutingConfig:
    file = path / "imgsvc.toml"
    file.write_text(f"[routing]\n{routing}\n")
    return load_settings(file).routing


def test_what_is_not_named_keeps_its_repetitions(tmp_path: Path) -> None:
    routing = configured(tmp_path, "retries = { provider_server_error = 0 }")
    assert routing.retries == RoutingConfig().retries | {"provider_server_error": 0}


@pytest.mark.parametrize(
    ("retries", "problem"),
    [
        ("provider_rate_limit = 1", "there is no error provider_rate_limit; those to be repeated"),
        ("provider_timeout = 1", "provider_timeout is never repeated, only provider_rate_limited"),
        ("provider_refused_content = 1", "provider_refused_content is never repeated"),
        ("provider_server_error = -1", "retries.provider_server_error: should be 0 at least"),
        ("provider_server_error = 11", "retries.provider_server_error: should be 10 at most"),
    ],
)
def test_repetitions_that_cannot_be_are_refused_by_name(
    retries: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        configured(tmp_path, f"retries = {{ {retries} }}")
    [line] = refused.value.problems
    assert line.startswith("routing.retries")
    assert problem in line


def test_repetitions_can_be_set_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSVC_ROUTING__RETRIES", '{"provider_unreachable": 3}')
    assert load_settings().routing.retries["provider_unreachable"] == 3
