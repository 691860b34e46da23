from datetime import UTC, datetime, timedelta

import pytest

from imgsvc.cli.times import parse_since, parse_span

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_a_span_counts_back_from_now(text: str, ago: timedelta) -> None:
    assert parse_since(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    "text", ["2026-11-25T08:00Z", "2026-11-25T09:00+01:00", "2026-11-25T08:00:00.000+00:00"]
)
def test_a_time_with_an_offset_is_that_time(text: str) -> None:
    found = parse_since(text, NOW)
    assert found == datetime(2026, 11, 25, 8, tzinfo=UTC)
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["2026-11-25T08:00", "2026-11-25"])
def test_a_time_without_an_offset_is_one_of_this_machine(text: str) -> None:
    found = parse_since(text, NOW)
    assert found.astimezone().replace(tzinfo=None) == datetime.fromisoformat(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2", "2 h", "-2h", "2y", "999999w", "8:00"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a span like 2h or 3d nor an ISO time"):
        parse_since(text, NOW)


def test_a_span_is_so_long() -> None:
    assert parse_span("24h") == timedelta(hours=24)
    assert parse_span("90d") == timedelta(days=90)


@pytest.mark.parametrize("text", ["", "90", "-1d", "1y", "999999d", "1.5h", "2026-11-25"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no span"):
        parse_span(text)
