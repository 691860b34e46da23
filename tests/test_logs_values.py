"""What becomes of the values in a log line."""

import logging
import math
from collections.abc import Iterator
from enum import IntEnum, StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from imgsvc.redaction import REDACTED
from standins.logs import Configure, logging_of_our_own

SECRET = 'top-"secret"\\käy\n'
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(st.none() | st.integers() | st.text() | st.binary(), inner)
    ),
)


log = structlog.get_logger("imgsvc.test")


@pytest.fixture(scope="module")
def configure() -> Iterator[Configure]:
    with logging_of_our_own() as configured:
        yield configured


# -- values -----------------------------------------------------------------------------


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("canary")


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (math.nan, None),
        (math.inf, None),
        (2**70, str(2**70)),
        (Number.ONE, 1),
        (HTTPStatus.OK, 200),
        (Colour.RED, "red"),
        (b"\xff", "b'\\xff'"),
        ("ä\u65e5", "ä\u65e5"),
        ("\ud800", "\\ud800"),
        ("a\nb\x1b[2J\u2028", "a\\nb\\x1b[2J\\u2028"),
        ({1: [b"x"], None: (1,), "\udcff": {2}}, {"1": ["b'x'"], "None": [1], "\\udcff": [2]}),
        (SecretStr("canary"), "SecretStr('**********')"),
        (Broken(), "<Broken>"),
        ([1, Broken()], "<list>"),
        (Path("a"), "PosixPath('a')"),
        ("x" * 20_000, "x" * 10_000 + "… (20,000 characters)"),
    ],
)
def test_a_value_is_shown_plainly(configure: Configure, value: object, shown: object) -> None:
    lines = configure()
    log.info("event", value=value)
    assert lines.one()["value"] == shown


def test_a_list_that_holds_itself_comes_to_an_end(configure: Configure) -> None:
    lines = configure()
    log.info("event", value=CIRCLE)
    assert lines.one()["event"] == "event"


@given(value=ANY_VALUE, name=st.text(), message=st.text())
def test_whatever_is_logged_comes_out_as_one_line(
    configure: Configure, value: object, name: str, message: str
) -> None:
    lines = configure()
    log.info("event", **{f"x{name}": value}, message=message)
    logging.getLogger("library").warning(message)
    ours, theirs = lines.all()
    assert ours["event"] == "event"
    assert theirs["level"] == "warning"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_value_cannot_forge_a_line(configure: Configure, form: str) -> None:
    lines = configure(format=form)
    forged = '\n{"event": "forged"}\r\n\x1b[1Aforged'
    log.info("event", value=forged, values=[forged, {forged: forged}])
    logging.getLogger("library").warning("text %s", forged)
    first, second = lines.text().splitlines()
    assert "event" in first
    assert "text" in second
    assert "\x1b" not in first + second


# -- secrets ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "console"])
def test_known_secrets_are_replaced_wherever_they_turn_up(configure: Configure, form: str) -> None:
    lines = configure(format=form, secrets=(SECRET, "sk-123456", "sk-123456-and-more"))
    log.info(
        "event",
        value=f"Bearer {SECRET}",
        nested={"headers": [{SECRET: SECRET}], "raw": f"x{SECRET}".encode()},
        object=SimpleRepr(SECRET),
        longer="sk-123456-and-more",
    )
    logging.getLogger("library").warning("keys are %s and %s", "sk-123456", SECRET)
    text = lines.text()
    assert text.count(REDACTED) == 8
    for part in ("top-", "käy", "k\\xc3", "sk-", "and-more"):
        assert part not in text


class SimpleRepr:
    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"<{self._value!r}>"


def test_a_secret_that_looks_like_a_number_or_a_field_breaks_no_line(configure: Configure) -> None:
    lines = configure(secrets=("123456", "timestamp", '","'))
    log.info("event", number=123456, text="123456")
    line = lines.one()
    assert line["number"] == 123456
    assert line["text"] == REDACTED
    assert "timestamp" in line


def test_very_short_secrets_leave_words_whole(configure: Configure) -> None:
    lines = configure(secrets=("", "e"))
    log.info("event")
    assert lines.one()["event"] == "event"
