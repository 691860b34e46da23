"""How often a batch tells how far it is, and how fast it gets on."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.jobs.items import Progress
from imgsvc.jobs.models import EventType
from imgsvc.jobs.progress import MAX_ENDS, SPACING, WINDOW, ProgressTeller, RateMeter
from imgsvc.jobs.story import Story
from providers.virtual_time import now, run

TOTAL = 1000
ALMOST_A_SECOND = 1 - 1e-6  # the clock of the event loop is a sum of many waits


@dataclass(slots=True)
class Timed:
    """Notes what a story is told, and when."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def tell(self, kind: EventType, **data: Any) -> None:
        assert kind is EventType.ITEM_DONE
        self.events.append((now(), data))


def make_teller(told: Timed, newest: Progress | None = None) -> ProgressTeller:
    return ProgressTeller(story=cast("Story", told), newest=newest or Progress(total=TOTAL))


def told_of(waits: Sequence[float], *, is_over: bool = True) -> Timed:
    """End an image after each of these waits, and return what is told of that."""
    told = Timed()

    async def end_images() -> None:
        with closing(make_teller(told)) as teller:
            for number, wait in enumerate(waits, start=1):
                await asyncio.sleep(wait)
                progress = Progress(done=number, failed=number // 2, total=TOTAL)
                teller.image_ended(f"{number}.png", "processed", progress)
            if is_over:
                teller.is_over({"total_files": len(waits), "failed": len(waits) // 2})

    run(end_images())
    return told


# -- how often it is told -----------------------------------------------------------------

waits_between_ends = st.lists(
    st.one_of(
        st.just(0.0),
        st.floats(0, 2 * SPACING),
        st.floats(0, 3),
        st.sampled_from([SPACING, SPACING / 2, 0.2, 1.0]),
    ),
    max_size=60,
)


@given(waits_between_ends)
def test_there_are_at_most_five_events_in_any_second_and_the_last_has_the_final_counts(
    waits: list[float],
) -> None:
    events = told_of(waits).events
    times = [time for time, _ in events]
    assert all(later - time >= ALMOST_A_SECOND for time, later in zip(times, times[5:]))  # noqa: B905 - the second is shorter
    last = events[-1][1]
    assert (last["done"], last["failed"], last["total"]) == (
        len(waits),
        len(waits) // 2,
        len(waits),
    )
    assert last["total_is_final"]
    done = [data["done"] for _, data in events]
    assert done == sorted(done)


@given(waits_between_ends.filter(bool))
def test_the_last_image_is_told_of_even_if_the_batch_is_cut_off(waits: list[float]) -> None:
    _, last = told_of(waits, is_over=False).events[-1]
    assert (last["done"], last["key"]) == (len(waits), f"{len(waits)}.png")


def test_after_a_quiet_while_an_image_is_told_of_at_once_and_the_next_ones_together() -> None:
    told = told_of([10, 0.01, 0.01, 10], is_over=False)
    assert [(time, data["done"]) for time, data in told.events] == [
        (10, 1),
        (10 + SPACING, 3),
        (pytest.approx(20.02), 4),
    ]


def test_nothing_is_told_twice() -> None:
    told = Timed()

    async def begin_and_end() -> None:
        known = Progress(done=3, total=3, total_is_final=True)
        with closing(make_teller(told, known)) as teller:
            teller.is_over({"total_files": 3, "failed": 0})

    run(begin_and_end())
    assert told.events == []


def test_a_batch_without_an_image_tells_that_there_is_none() -> None:
    [(_, data)] = told_of([]).events
    assert data == {"done": 0, "failed": 0, "total": 0, "total_is_final": True}


# -- how fast it gets on ------------------------------------------------------------------


def rates(concurrency: int, waits: Sequence[float]) -> list[float | None]:
    """Return the rate after each of the images that end after these waits."""

    async def measure() -> list[float | None]:
        meter = RateMeter(concurrency)
        measured = []
        for wait in waits:
            await asyncio.sleep(wait)
            measured.append(meter.count())
        return measured

    return run(measure())


def test_the_rate_is_not_known_before_as_many_images_have_ended_as_are_in_work() -> None:
    assert rates(4, [2, 0, 0, 0, 2]) == [None, None, None, 2, 1.25]


def test_the_rate_is_not_known_while_no_time_has_passed() -> None:
    assert rates(1, [0, 1]) == [None, 2]


def test_the_rate_is_that_of_the_last_minute() -> None:
    slow, fast = [10.0] * 30, [0.5] * 200
    measured = rates(1, slow + fast)
    assert measured[29] == pytest.approx(0.1)
    assert measured[-1] == pytest.approx(2, rel=0.02)


def test_the_rate_of_images_that_take_longer_than_the_window_is_that_of_the_last_one() -> None:
    assert rates(1, [WINDOW * 2, WINDOW * 4])[-1] == pytest.approx(1 / (WINDOW * 4), abs=1e-3)


def test_very_many_images_in_a_short_time_are_not_all_remembered() -> None:
    measured = rates(1, [1.0] * 30 + [0.001] * (MAX_ENDS + 1))
    assert measured[-1] == pytest.approx(1000)


def test_the_time_left_is_known_once_total_and_rate_are() -> None:
    progress = Progress(done=40, failed=2, total=100, total_is_final=True, rate=1.5)
    assert progress.seconds_left == 40
    assert replace(progress, total_is_final=False).seconds_left is None
    assert replace(progress, rate=None).seconds_left is None
    assert replace(progress, rate=0.0).seconds_left is None
    assert replace(progress, done=100).seconds_left is None
    assert "seconds_left" not in replace(progress, done=100).shown
