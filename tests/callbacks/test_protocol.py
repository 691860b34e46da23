import base64
import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError
from yarl import URL

from imgsvc import __version__
from imgsvc.callbacks import CallbacksConfig, Verdict, check_url, planned_delay, rewrite
from imgsvc.callbacks.protocol import headers, judge, parse_retry_after, sign

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
WXO = {"wxo-server:4321": "127.0.0.1:14321", "wxo-server": "127.0.0.1:14321"}

LOCAL_TLS = "https://127.0.0.1:14321"


def secret(size: int = 24) -> SecretStr:
    return SecretStr("whsec_" + base64.b64encode(os.urandom(size)).decode())


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (202, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (199, Verdict.RETRY),
        (301, Verdict.RETRY),
        (302, Verdict.RETRY),
        (304, Verdict.RETRY),
        (307, Verdict.RETRY),
        (308, Verdict.RETRY),
        (400, Verdict.RETRY),
        (401, Verdict.RETRY),
        (404, Verdict.RETRY),
        (410, Verdict.DEAD),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (503, Verdict.RETRY),
    ],
)
def test_only_2xx_delivers_and_only_410_ends_it(status: int, verdict: Verdict) -> None:
    assert judge(status) is verdict


SCHEDULE = [0, 1, 5, 30]


@pytest.mark.parametrize(
    ("attempts", "retry_after", "random", "delay"),
    [
        (0, None, 0.5, 0),
        (1, None, 0.5, 1),
        (2, None, 0.5, 5),
        (2, None, 0.0, 4),
        (2, None, 1.0, 6),
        (3, None, 0.5, 30),
        (3, 0.0, 0.5, 30),  # asking for less does not hurry us
        (3, 45.0, 0.5, 45),
        (3, 60.0, 0.5, 60),
        (3, 61.0, 0.5, 60),  # at most twice the plan
        (3, float("inf"), 0.5, 60),
        (4, None, 0.5, None),
        (4, 1.0, 0.5, None),
        (9, None, 0.5, None),
    ],
)
def test_the_wait_follows_the_schedule_and_a_modest_retry_after(
    attempts: int, retry_after: float | None, random: float, delay: float | None
) -> None:
    planned = planned_delay(attempts, SCHEDULE, retry_after=retry_after, random=lambda: random)
    assert planned == (None if delay is None else pytest.approx(delay))


@given(
    attempts=st.integers(0, 3),
    retry_after=st.none() | st.floats(min_value=0),
    random=st.floats(0, 1),
)
def test_the_wait_is_never_shorter_than_80_percent_nor_longer_than_twice_the_plan(
    attempts: int, retry_after: float | None, random: float
) -> None:
    delay = planned_delay(attempts, SCHEDULE, retry_after=retry_after, random=lambda: random)
    assert delay is not None
    assert 0.799 * SCHEDULE[attempts] <= delay <= 2 * SCHEDULE[attempts]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        ("Fri, 20 Nov 2026 12:01:00 -0000", 60),
        ("Friday, 20-Nov-26 12:00:30 GMT", 30),  # obsolete RFC 850 form
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Tue, 24 Nov 2026 03:00:00 +99999999999999", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    value: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@given(
    value=st.text()
    | st.from_regex(
        r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ (GMT|[+-]\d{4}|[+-]\d{14,30})"
    )
)
def test_no_retry_after_upsets_the_parser(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        ("http://wxo-server:4321/cb", "http://127.0.0.1:14321/cb"),
        ("http://wxo-server/cb", "http://127.0.0.1:14321/cb"),
        ("http://WXO-Server:4321/cb", "http://127.0.0.1:14321/cb"),
        ("https://wxo-server:4321/a/../b//?x=%2f+%7e&y=", f"{LOCAL_TLS}/a/../b//?x=%2f+%7e&y="),
        ("http://wxo-server.example:4321/cb", "http://wxo-server.example:4321/cb"),
        ("http://other/wxo-server:4321", "http://other/wxo-server:4321"),
    ],
)
def test_a_named_authority_is_replaced_and_the_rest_kept(url: str, rewritten: str) -> None:
    assert str(rewrite(check_url(url), WXO)) == rewritten


@pytest.mark.parametrize(
    ("url", "rules", "rewritten"),
    [
        ("http://h:1/", {"h:1": "a:10", "h": "b:20"}, "http://a:10/"),
        ("http://h:2/", {"h:1": "a:10", "h": "b:20"}, "http://b:20/"),
        ("http://h/", {"h:80": "a:10"}, "http://a:10/"),
        ("https://h/", {"h:80": "a:10"}, "https://h/"),
        ("http://h:2/", {"h": "b"}, "http://b:2/"),
        ("http://h/", {"h": "b"}, "http://b/"),
        ("http://h:2/", {"h": "[::1]"}, "http://[::1]:2/"),
        ("http://h:2/", {"h": "[::1]:3"}, "http://[::1]:3/"),
        ("http://[::1]:2/", {"[::1]:2": "b:3"}, "http://b:3/"),
        ("http://a/", {"a": "b:1", "b:1": "c:1"}, "http://b:1/"),  # once, not in a chain
    ],
)
def test_host_and_port_win_over_host_alone(url: str, rules: dict[str, str], rewritten: str) -> None:
    assert rewrite(URL(url), rules) == URL(rewritten)


PATHS = st.text("abc/%._-~!$&'()*+,;=:@20fF", max_size=30).map(lambda path: "/" + path)


@given(path=PATHS, query=st.text("abc=&%+/?20fF", min_size=1, max_size=30))
def test_rewriting_keeps_path_and_query_byte_for_byte(path: str, query: str) -> None:
    url = rewrite(check_url(f"http://wxo-server{path}?{query}"), WXO)
    assert url.raw_path_qs == f"{path}?{query}"


def test_every_secret_signs_and_each_verifies_on_its_own() -> None:
    newest, oldest, stranger = secret(), secret(64), secret()
    body = '{"filename": "ä.png"}'.encode()
    timestamp = int(datetime.now(UTC).timestamp())
    signature = sign(
        [newest, oldest],
        webhook_id="msg_1",
        timestamp=timestamp,
        chunks=[body[:5], body[5:16], body[16:]],
    )
    sent = headers(webhook_id="msg_1", request_id="r", timestamp=timestamp, signature=signature)
    for known in (newest, oldest):
        assert Webhook(known.get_secret_value()).verify(body, sent) == {"filename": "ä.png"}
    newest_alone = Webhook(newest.get_secret_value()).sign(
        "msg_1", datetime.fromtimestamp(timestamp, UTC), body.decode()
    )
    assert signature.split(" ")[0] == newest_alone
    with pytest.raises(WebhookVerificationError):
        Webhook(stranger.get_secret_value()).verify(body, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(newest.get_secret_value()).verify(body + b" ", sent)


def test_an_unsigned_callback_still_has_id_and_timestamp() -> None:
    assert headers(webhook_id="msg_1", request_id="r", timestamp=17, signature=None) == {
        "Content-Type": "application/json",
        "User-Agent": f"imgsvc/{__version__}",
        "Accept-Encoding": "identity",
        "X-Request-Id": "r",
        "webhook-id": "msg_1",
        "webhook-timestamp": "17",
    }


def test_the_default_schedule_is_the_documented_one() -> None:
    assert CallbacksConfig().schedule == [0, 1, 5, 30, 120, 600, 1800, 7200]


def test_names_and_authorities_are_kept_in_lower_case() -> None:
    config = CallbacksConfig(
        allow_hosts=["Hooks.Example.", "BÜCHER.example"], rewrite={"WXO-Server:4321": "[::1]:1"}
    )
    assert config.allow_hosts == ["hooks.example", "xn--bcher-kva.example"]
    assert config.rewrite == {"wxo-server:4321": "[::1]:1"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"allow_networks": ["10.0.0.1/8"]},
        {"allow_networks": [10]},
        {"allow_hosts": ["https://h"]},
        {"allow_hosts": ["h:80"]},
        {"allow_hosts": ["*.h"]},
        {"allow_hosts": [""]},
        {"allow_hosts": ["a..b"]},
        {"rewrite": {"http://h": "b"}},
        {"rewrite": {"h": "b/path"}},
        {"rewrite": {"h": "user@b"}},
        {"rewrite": {"h": "b:0"}},
        {"rewrite": {"h": "b:65536"}},
        {"rewrite": {"h:99999": "b"}},
        {"signing_secrets": ["whsec_not base64"]},
        {"signing_secrets": ["whsec_c2hvcnQ="]},
        {"signing_secrets": [base64.b64encode(bytes(24)).decode()]},
        {"signing_secrets": ["whsec_ÄÖÜ"]},
        {"schedule": []},
        {"schedule": [-1]},
        {"schedule": [float("inf")]},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"concurrency": 0},
        {"retries": 3},
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CallbacksConfig.model_validate(wrong)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("10.0.0.1/8", "write the network as 10.0.0.0/8: host bits must be zero"),
        ("fd00::1/8", "write the network as fd00::/8: host bits must be zero"),
        ("10.0.0.0/33", "this is not a network; write one as 10.0.0.0/8"),
        ("intranet", "this is not a network; write one as 10.0.0.0/8"),
        ("", "this is not a network; write one as 10.0.0.0/8"),
        (None, "this is not a network; write one as 10.0.0.0/8"),
    ],
)
def test_each_wrong_network_has_one_plain_message(entry: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CallbacksConfig.model_validate({"allow_networks": ["10.0.0.0/8", entry]})
    [error] = caught.value.errors()
    assert (error["loc"], error["msg"]) == (("allow_networks", 1), f"Value error, {message}")


def test_networks_of_both_kinds_are_taken() -> None:
    entries = ["10.1.0.0/16", "fd00::/8", "192.168.7.7"]
    config = CallbacksConfig.model_validate({"allow_networks": entries})
    assert config.allow_networks == [
        IPv4Network("10.1.0.0/16"),
        IPv6Network("fd00::/8"),
        IPv4Network("192.168.7.7/32"),
    ]


@given(port=st.integers(0, 99_999))
def test_a_rule_that_is_taken_can_be_followed(port: int) -> None:
    try:
        config = CallbacksConfig(rewrite={"h": f"b:{port}"})
    except ValidationError:
        assert port not in range(1, 65_536)
    else:
        assert rewrite(URL("http://h/"), config.rewrite).port == port


def test_a_refused_secret_is_not_repeated_in_the_message() -> None:
    with pytest.raises(ValidationError) as caught:
        CallbacksConfig.model_validate({"signing_secrets": ["whsec_c2hvcnQ="]})
    assert "c2hvcnQ" not in str(caught.value)


def test_a_secret_may_come_without_its_padding() -> None:
    unpadded = SecretStr(secret(25).get_secret_value().rstrip("="))
    assert CallbacksConfig(signing_secrets=[unpadded]).signing_secrets == [unpadded]
