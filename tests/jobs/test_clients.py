"""What clients are held to, put together from the limits of all and their own."""

import pytest
from pydantic import SecretStr, ValidationError

from imgsvc.jobs import ClientConfig, Clients, LimitsConfig
from imgsvc.jobs.models import QueueLimits

SECRET = "whsec_" + "A" * 32


def test_what_a_client_does_not_set_is_as_for_all() -> None:
    everybody = LimitsConfig(max_queued_jobs=5, max_priority=2, max_running_jobs=1)
    named = {"ann": ClientConfig(max_priority=9, signing_secrets=[SecretStr(SECRET)])}
    clients = Clients(everybody, named)
    ann, bob = clients.of("ann"), clients.of("bob")
    assert (ann.queue, ann.max_priority) == (QueueLimits(jobs=5), 9)
    assert (bob.max_priority, bob.signing_secrets, bob.day_usd) == (2, None, None)
    assert clients.max_running_jobs("ann") == 1
    assert SECRET not in repr(ann)


def test_without_configuration_nothing_is_limited() -> None:
    assert Clients().of("bob") == ClientConfig()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("shop", "shop/"),
        ("shop/", "shop/"),
        ("shop/input", "shop/input/"),
        ("shop//input///", "shop/input/"),
    ],
)
def test_a_place_ends_with_one_slash(written: str, kept: str) -> None:
    assert ClientConfig.model_validate({"buckets": [written]}).buckets == [kept]


@pytest.mark.parametrize(
    "place", ["", "/", "/shop", "shop/../x", "shop/./", "..", "shop/\x00", "sh\nop"]
)
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(ValidationError, match="write a bucket"):
        ClientConfig.model_validate({"buckets": [place]})
