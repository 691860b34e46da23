"""Patterns fit what they say, whatever they are, and never take long."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imgsvc.jobs.globs import Globs

PIECES = (
    *("a", "b", "/", ".", "é", "*", "**", "***", "**/", "?"),
    *("[ab]", "[!a]", "[a-c]", "[!a-]", "[]a]", "[+-9]", "[!+-9]"),
)
patterns = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
paths = st.text(st.sampled_from("abc/.é5]-\udcff"), max_size=9)


def fits(pattern: str, path: str, *, begins: bool = True) -> bool:
    """Say so by trying everything; `begins` is whether a folder or name begins here."""
    if not pattern:
        return not path
    if begins and (stars := re.match(r"\*\*+/", pattern)):
        rest = pattern[stars.end() :]
        starts = [0, *(n + 1 for n, character in enumerate(path) if character == "/")]
        return any(fits(rest, path[start:]) for start in starts)
    if pattern.startswith("*"):
        rest = pattern.lstrip("*")
        most = len(path) if pattern.startswith("**") else len(path.partition("/")[0])
        return any(fits(rest, path[n:], begins=False) for n in range(most + 1))
    if pattern.startswith("["):
        end = pattern.index("]", 3 if pattern.startswith("[!") else 2)
        one, rest = pattern[: end + 1], pattern[end + 1 :]
    else:
        one, rest = pattern[0], pattern[1:]
    return bool(path) and takes(one, path[0]) and fits(rest, path[1:], begins=one == "/")


def takes(one: str, character: str) -> bool:
    if one == "?":
        return character != "/"
    if not one.startswith("["):
        return one == character
    members = one.removeprefix("[").removeprefix("!").removesuffix("]")
    found = False
    while members:
        if len(members) > 2 and members[1] == "-":
            found = found or members[0] <= character <= members[2]
            members = members[3:]
        else:
            found = found or members[0] == character
            members = members[1:]
    return character != "/" and found != one.startswith("[!")


@given(patterns, paths)
def test_a_pattern_fits_the_same_paths_as_when_everything_is_tried(pattern: str, path: str) -> None:
    try:
        glob = Globs([pattern])
    except ValueError:
        assume(False)
    assert glob.match(path) == fits(pattern, path)


@given(st.text(st.characters(codec="utf-8", exclude_characters="*?[/"), min_size=1), paths)
def test_a_pattern_without_special_characters_fits_itself_alone(text: str, other: str) -> None:
    assert Globs([text]).match(text)
    assert Globs([text]).match(other) == (text == other)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_is_a_pattern_or_is_refused_with_words(text: str) -> None:
    try:
        Globs([text]).match(text)
    except ValueError as exc:
        assert ": " in str(exc)  # noqa: PT017 - either way is right


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("*.png", ["lake.png", ".png"], ["trip/lake.png", "lake.PNG", "lake.png.txt"]),
        ("trip/**", ["trip/a/lake.png", "trip/a"], ["trips/lake.png", "trip"]),
        ("**/*.png", ["lake.png", "trip/lake.png", "a/b/c.png"], ["lake.jpg"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "ab"]),
        ("a**b", ["ab", "a/b", "ax/yb"], ["b"]),
        ("lake?.png", ["lake1.png", "lakeé.png", "lake\udcff.png"], ["lake10.png", "lake/.png"]),
        ("[ab]*.png", ["a1.png"], ["c1.png"]),
        ("[!.]*", ["lake.png"], [".hidden.png"]),
        ("[+-9]", ["5", "."], ["/"]),
        ("[a-cb-d]", ["a", "b", "d"], ["e"]),
        ("[*][[]?]", ["*[x]"], ["x[x]"]),
        (r"{a,b}\*", [r"{a,b}\x"], ["a"]),
    ],
)
def test_what_the_documentation_says(pattern: str, fitting: list[str], others: list[str]) -> None:
    glob = Globs([pattern])
    assert [path for path in fitting if not glob.match(path)] == []
    assert [path for path in others if glob.match(path)] == []


@pytest.mark.parametrize(
    ("pattern", "mend"),
    [
        ("", "leave it out"),
        ("/a.png", "leave out the first one"),
        ("trip/", "write ** at its end"),
        ("a[b", "write [[] for the character"),
        ("a[]", "put some between the brackets"),
        ("[!]", "put some between the brackets"),
        ("[z-a]", "write a-z"),
        ("[a/b]", "write it outside"),
        ("[^a]", "write [!...]"),
    ],
)
def test_a_wrong_pattern_is_refused_with_how_to_mend_it(pattern: str, mend: str) -> None:
    with pytest.raises(ValueError, match=re.escape(mend)):
        Globs([pattern])


@pytest.mark.parametrize("pattern", ["**a" * 66, "*a" * 100, "**/" * 66 + "b", "**[!b]" * 33 + "b"])
def test_no_pattern_makes_a_path_take_for_ever(pattern: str) -> None:
    # To try everything would take longer than the world is old.
    assert not Globs([pattern] * 50).match("a" * 1023 + "\n")


def test_one_of_many_patterns_has_to_fit() -> None:
    globs = Globs(["*.png", "trip/**"])
    assert globs.match("lake.png")
    assert globs.match("trip/lake.jpg")
    assert not globs.match("lake.jpg")
