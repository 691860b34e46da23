"""The order of those who wait, without any waiting."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from imgsvc.imaging.lines import IN_A_ROW, Lines, Waiting


def waiting(kinds: str) -> list[Waiting]:
    """Return one who waits for each letter: s for a single picture, b for one of a batch."""
    return [Waiting(gives_way=kind == "b") for kind in kinds]


def filled(kinds: str) -> Lines:
    lines = Lines()
    for one in waiting(kinds):
        lines.join(one)
    return lines


def go_next(lines: Lines) -> Waiting:
    """Let the next one go."""
    one = lines.next
    assert one is not None
    lines.go(one)
    lines.leave(one)
    return one


def order(lines: Lines) -> list[Waiting]:
    """Let all go, and return them in that order."""
    return [go_next(lines) for _ in range(len(lines))]


def letters(ones: Sequence[Waiting]) -> str:
    return "".join("b" if one.gives_way else "s" for one in ones)


def test_nobody_is_next_where_nobody_waits() -> None:
    assert Lines().next is None


def test_one_single_goes_before_all_of_a_batch() -> None:
    assert letters(order(filled("bbbbs"))) == "sbbbb"


def test_after_three_singles_in_a_row_one_of_a_batch_goes() -> None:
    assert letters(order(filled("bbb" + "s" * 8))) == "sssbsssbssb"


def test_singles_that_went_while_no_batch_waited_are_not_held_against_the_next() -> None:
    lines = filled("s" * 5)
    order(lines)
    for one in waiting("bs"):
        lines.join(one)
    assert letters(order(lines)) == "sb"


def test_an_image_of_a_batch_has_its_turn_however_many_singles_come() -> None:
    lines = filled("b")
    gone = []
    for one in waiting("s" * 9):
        lines.join(one)
        gone.append(go_next(lines))
    assert letters(gone) == "sssbsssss"


@given(earlier=st.text("sb", max_size=12), gone=st.integers(0, 12), kinds=st.text("sb"))
def test_how_many_are_ahead_of_each_is_how_many_go_before_it(
    earlier: str, gone: int, kinds: str
) -> None:
    lines = filled(earlier)
    for _ in range(min(gone, len(earlier))):
        go_next(lines)
    for one in waiting(kinds):
        lines.join(one)
    ahead = {one: lines.ahead(one) for one in lines}
    assert [ahead[one] for one in order(lines)] == list(range(len(ahead)))


@given(st.lists(st.sampled_from(["s", "b", "go"])))
def test_nobody_is_passed_by_its_own_kind_nor_by_too_many_of_the_other(steps: list[str]) -> None:
    lines, came, gone = Lines(), waiting(""), waiting("")
    passed = {False: 0, True: 0}  # those who wait and give way, or do not, by the others
    for step in steps:
        if step != "go":
            came += waiting(step)
            lines.join(came[-1])
        elif len(lines):
            gone.append(go_next(lines))
            went, other = gone[-1].gives_way, not gone[-1].gives_way
            others_wait = other in {one.gives_way for one in lines}
            passed |= {went: 0, other: passed[other] + 1 if others_wait else 0}
            assert passed[False] <= 1
            assert passed[True] <= IN_A_ROW
    gone += order(lines)
    for kind in (False, True):
        assert [one for one in gone if one.gives_way is kind] == [
            one for one in came if one.gives_way is kind
        ]
