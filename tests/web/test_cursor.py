import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from imgsvc.errors import InvalidCursor
from imgsvc.jobs.models import CallbackState, JobFilter, JobKind, JobState
from imgsvc.web.cursor import Cursors

CURSORS = Cursors(b"k" * 32)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

seqs = st.integers(min_value=0, max_value=2**63 - 1)
filters = st.builds(
    JobFilter,
    state=st.none() | st.sampled_from(JobState),
    kind=st.none() | st.sampled_from(JobKind),
    callback=st.none() | st.sampled_from(CallbackState),
    since=st.none() | st.datetimes(timezones=st.just(UTC)),
)


@given(seqs, filters)
def test_a_cursor_leads_back_to_where_it_was_made(seq: int, wanted: JobFilter) -> None:
    assert CURSORS.decode(CURSORS.encode(seq, wanted), wanted) == seq


@given(seqs, filters, filters)
def test_a_cursor_of_a_list_with_other_filters_is_refused(
    seq: int, wanted: JobFilter, other: JobFilter
) -> None:
    assume(wanted != other)
    cursor = CURSORS.encode(seq, wanted)
    with pytest.raises(InvalidCursor):
        CURSORS.decode(cursor, other)


def test_the_same_time_in_another_zone_is_the_same_filter() -> None:
    cursor = CURSORS.encode(7, JobFilter(since=NOON))
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
    assert CURSORS.decode(cursor, JobFilter(since=elsewhere)) == 7


@given(seqs, filters)
def test_a_cursor_of_another_record_is_refused(seq: int, wanted: JobFilter) -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.decode(Cursors(b"o" * 32).encode(seq, wanted), wanted)


@given(seqs, filters, st.integers(0, 23), st.integers(1, 255))
def test_a_cursor_with_any_byte_changed_is_refused(
    seq: int, wanted: JobFilter, index: int, change: int
) -> None:
    data = bytearray(base64.urlsafe_b64decode(CURSORS.encode(seq, wanted)))
    data[index] ^= change
    with pytest.raises(InvalidCursor):
        CURSORS.decode(base64.urlsafe_b64encode(data).decode(), wanted)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_=+/-]{30,34}", fullmatch=True))
@example("")
@example("\ud800")
@example("A" * 32)
@example(CURSORS.encode(1, JobFilter()) + "\n")
@example(CURSORS.encode(1, JobFilter()) + "=")
@example(CURSORS.encode(1, JobFilter()) * 2)
@example("٣" * 32)
def test_no_invented_cursor_is_taken(text: str) -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.decode(text, JobFilter())
