import unicodedata

import pytest
import re2  # type: ignore[import-untyped]  # the package carries no types

from imgsvc.errors import ConfigurationError
from imgsvc.providers.patterns import Patterns, folded


def compiled(*lines: str) -> Patterns:
    return Patterns(dict(enumerate(lines, start=1)), place="deny.txt")


def wide(text: str) -> str:
    """Return ASCII text in full-width letters."""
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


def problems(*lines: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        compiled(*lines)
    return caught.value.problems


@pytest.mark.parametrize(
    ("pattern", "prompt"),
    [
        ("gun", "a GUN in the hand"),
        ("GUN", "a gun in the hand"),
        ("übel", "Mach es ÜBEL"),
        ("оружие", "Добавь ОРУЖИЕ"),
        ("^Ä", "ärmel"),
        (r"\bgun(s)?\b", "two guns."),
        (r"(^|\PL)übel(\PL|$)", "Das ist übel!"),
        (r"\p{Han}{2}", "画一把枪"),
        ("(?P<a>x)(?P<a>y)", "xy"),
        ("a.b", "a€b"),
        (r"\#1", "make it #1"),
        (r"\Qa+b", "a+b"),
        ("last", "x" * 31_996 + "last"),
    ],
)
def test_a_pattern_is_found_anywhere_in_any_case_and_any_letters(pattern: str, prompt: str) -> None:
    assert compiled("nothing", pattern, "nothing else").find(prompt) == 2


@pytest.mark.parametrize(
    ("pattern", "prompt"),
    [
        ("forbidden", wide("forbidden")),
        (r"\bfor(bid)+den\b", wide("FORBIDDEN")),
        (wide("forbidden"), "FORBIDDEN"),
        ("forbidden", "ⓕⓞⓡⓑⓘⓓⓓⓔⓝ"),
        ("säbel", "sa\u0308bel"),
        ("sa\u0308bel", "säbel"),
        (r"(^|\PL)säbel(\PL|$)", "SA\u0308BEL"),
        ("straße", "STRASSE"),
        ("fish", "ﬁsh"),
        (wide("w.x"), "w.x"),
        ("Straße [0-9]", "Straße 1"),
        ("ﬁ", "ﬁsh"),
        ("a", "a" + "\u0301\u0316" * 15_999),
    ],
)
def test_the_same_letters_in_another_form_are_found(pattern: str, prompt: str) -> None:
    assert compiled("nothing", pattern).find(prompt) == 2


def test_a_dot_that_is_written_wide_is_no_wildcard() -> None:
    assert compiled(wide("w.x")).find("wax") is None


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\u0f73", "\uff9e\u0f73"])
def test_of_many_marks_in_a_row_a_few_are_looked_at(marks: str) -> None:
    assert len(folded("a" + marks * 10_000 + "b")) < 100
    assert compiled("b").find("a" + marks * 10_000 + wide("b")) == 1


def test_marks_that_a_script_needs_stay() -> None:
    text = "กี่ไม้ नमस्ते שָׁלוֹם"
    assert folded(text) == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize(
    ("pattern", "prompt"),
    [(r"\bgun\b", "a gunner"), ("^gun", "a gun"), ("a.b", "ab"), (r"(^|\PL)bel(\PL|$)", "übel")],
)
def test_what_is_not_in_the_prompt_is_not_found(pattern: str, prompt: str) -> None:
    assert compiled(pattern).find(prompt) is None


def test_no_patterns_find_nothing() -> None:
    assert compiled().find("anything") is None
    assert len(compiled()) == 0


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(x|x)*y", "^(([a-z])+.)+[0-9]([a-z])+$"])
def test_a_pattern_that_would_backtrack_for_ever_ends(pattern: str) -> None:
    assert compiled(pattern).find("x" * 32_000) is None


def test_the_line_is_right_among_more_patterns_than_are_compiled_together() -> None:
    words = [f"word{number:04}" for number in range(1, 1502)]
    found = compiled(*words)
    assert len(found) == 1501
    for line in (1, 500, 501, 1000, 1001, 1501):
        assert found.find(f"a {words[line - 1]} here") == line
    assert found.find("word1501 and word0007") == 7


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(gun", "missing ): (gun"),
        ("gun)", "unexpected ): gun)"),
        ("a**", "bad repetition operator: **"),
        ("[z-a]", "invalid character class range: z-a"),
        ("(?=gun)", "invalid perl operator: (?="),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("x{1001}", "invalid repetition size: {1001}"),
        ("gun|", "it is found in an empty text, and so in every prompt"),
        ("x*", "it is found in an empty text, and so in every prompt"),
    ],
)
def test_what_is_wrong_with_a_pattern_is_said_with_its_line(pattern: str, problem: str) -> None:
    assert problems("fine", pattern, "fine too") == (f"line 2 of deny.txt: {problem}",)


@pytest.mark.parametrize("pattern", [r"\bübel\b", r"übel\B", r"\\\bübel"])
def test_a_word_boundary_that_would_not_see_the_word_is_refused(pattern: str) -> None:
    [problem] = problems(pattern)
    assert r"write (^|\PL) in front of it" in problem


@pytest.mark.parametrize("pattern", [r"\bgun\b", r"\\bübel"])
def test_a_boundary_of_ascii_words_and_a_backslash_are_fine(pattern: str) -> None:
    assert len(compiled(pattern)) == 1


def test_all_wrong_lines_are_named_up_to_a_bound() -> None:
    assert len(problems("(", "fine", ")")) == 2
    many = problems(*["("] * 50)
    assert (len(many), many[-1]) == (21, "and 30 more")


def test_patterns_that_take_too_much_memory_together_are_refused() -> None:
    heavy = [f"a.{{0,900}}{number}" for number in range(100)]
    assert problems(*heavy) == ("lines 1 to 100 of deny.txt: too large together",)


def test_a_search_that_ran_out_of_memory_is_not_taken_for_one_that_found_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = compiled("gun")
    monkeypatch.setattr(re2.Set, "Match", lambda _set, _text: None)  # as RE2 answers then
    with pytest.raises(re2.error, match="out of memory"):
        found.find("a gun")
