"""The pages are whole: no merge has torn or doubled fences, tables, headings and links."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
SEPARATOR = re.compile(r"\|(\s*:?-+:?\s*\|)+")
MERGE_MARKERS = ("<<<<<<< ", "=======", ">>>>>>> ")


def kinds(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line of a page with what it is: text, table, heading, blank, or of a fence."""
    inside = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            yield "closing" if inside else "opening", line
            inside = not inside
        elif inside:
            yield "code", line
        elif not line.strip():
            yield "blank", line
        elif line.startswith("#"):
            yield "heading", line
        else:
            yield "table" if line.startswith("|") else "text", line


def cells(row: str) -> int:
    r"""Return how many cells a row of a table has; `\|` is no border, as GitHub has it."""
    return len(re.findall(r"(?<!\\)\|", row)) - 1


def faults_between_lines(lines: list[tuple[str, str]]) -> Iterator[str]:
    """Yield where a blank line is missing, or is one too many."""
    apart = {"heading", "table"}
    for (before, above), (kind, line) in pairwise(lines):
        if before == kind == "blank":
            yield f"two blank lines before {line!r}"
        elif "blank" in (before, kind) or before == kind == "table":
            continue
        elif kind == "opening" or before == "closing" or {before, kind} & apart:
            yield f"no blank line between {above!r} and {line!r}"


def faults_of_tables(lines: list[tuple[str, str]]) -> Iterator[str]:
    """Yield what keeps a table from being shown as one."""
    table: list[str] = []
    for kind, line in [*lines, ("end", "")]:
        if kind == "table":
            table.append(line)
            continue
        if len(set(table)) < len(table):
            yield f"a row that is there twice: {table[0]!r}"
        if table and not (len(table) > 2 and SEPARATOR.fullmatch(table[1])):
            yield f"no head, separator and row: {table[0]!r}"
        elif any(SEPARATOR.fullmatch(row) for row in table[2:]):
            yield f"a second separator: {table[0]!r}"
        yield from (
            f"{cells(row)} cells under {cells(table[0])}, or no border at the end: {row!r}"
            for row in table
            if cells(row) != cells(table[0]) or not row.endswith("|")
        )
        table = []


def faults(text: str) -> list[str]:
    """Return what is not whole in a page."""
    lines = list(kinds(text))
    prose = [(kind, line) for kind, line in lines if kind != "code"]
    texts = [line for kind, line in prose if kind == "text" and len(line) > 60]
    slugs = [slug(line) for kind, line in prose if kind == "heading"]
    fences = Counter(kind for kind, _ in lines)
    return [
        *(["a fence is not closed"] if fences["opening"] > fences["closing"] else []),
        *(f"left by a merge: {line!r}" for _, line in prose if line.startswith(MERGE_MARKERS)),
        *(f"there twice: {line!r}" for line, count in Counter(texts).items() if count > 1),
        *(f"two headings {each!r}" for each, count in Counter(slugs).items() if count > 1),
        *faults_between_lines(lines),
        *faults_of_tables(lines),
    ]


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").rstrip().lower()).replace(" ", "-")


@every_page
def test_a_page_is_whole(page: Path) -> None:
    assert faults(page.read_text()) == []


TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n"
LONG = "One sentence that is long enough not to be there twice by accident.\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("```sh\nls\n", id="an open fence"),
        pytest.param("Text\n```sh\nls\n```\n", id="a fence behind text"),
        pytest.param("```sh\nls\n```\nText\n", id="text behind a fence"),
        pytest.param("# A\nText\n", id="text behind a heading"),
        pytest.param("Text\n# A\n", id="a heading behind text"),
        pytest.param("# A\n\n# a\n", id="two headings of one name"),
        pytest.param(f"Text\n{TABLE}", id="a table behind text"),
        pytest.param(f"{TABLE}Text\n", id="text behind a table"),
        pytest.param("| a | b |\n| 1 | 2 |\n| 3 | 4 |\n", id="a table without a separator"),
        pytest.param(f"{TABLE}{TABLE}", id="two tables in one"),
        pytest.param(f"{TABLE}| 1 | 2 |\n", id="a row that is there twice"),
        pytest.param(f"{TABLE}| 1 |\n", id="a row with too few cells"),
        pytest.param(f"{TABLE}| 1 | `2|3` |\n", id="a row with a border in it"),
        pytest.param(f"{TABLE}| 1 | 2 | \n", id="white space behind a row"),
        pytest.param("Text\n\n\nText\n", id="two blank lines"),
        pytest.param(f"{LONG}\n{LONG}", id="a paragraph that is there twice"),
        pytest.param("Text\n<<<<<<< HEAD\n", id="the mark of a merge"),
    ],
)
def test_a_page_that_is_not_whole_is_found(text: str) -> None:
    assert faults(text)


def test_what_is_in_a_fence_is_no_part_of_the_page() -> None:
    code = "# A\n| a |\n\n\n=======\n"
    assert faults(f"# A\n\nText\n\n```sh\n{code}```\n\n{TABLE}") == []


@every_page
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    text = "\n".join(line for kind, line in kinds(page.read_text()) if kind != "code")
    for link in re.findall(r"(?:\]\(|src=\"|href=\")([^)\s\"]+)", text):
        target, _, anchor = link.partition("#")
        if ":" in target:
            continue  # another site
        file = (page.parent / target).resolve() if target else page
        assert file.is_relative_to(ROOT), f"{link} leaves the project"
        assert file.exists(), link
        if anchor and file.suffix == ".md":
            headings = (line for kind, line in kinds(file.read_text()) if kind == "heading")
            assert anchor in map(slug, headings), link
