"""All words of the grammar in one table, and how to find phrases in it."""

from collections.abc import Mapping, Sequence

from imgsvc.imaging.intent.meanings import Mark, Meaning
from imgsvc.imaging.intent.tokens import Kind, fold, tokenize
from imgsvc.imaging.intent.words import english, french, german, portuguese, shared, spanish

LANGUAGES: Mapping[str, Mapping[Meaning, str]] = {
    "English": english.WORDS,
    "German": german.WORDS,
    "French": french.WORDS,
    "Spanish": spanish.WORDS,
    "Portuguese": portuguese.WORDS,
}
"""Where two languages disagree about a word, the first one decides."""

Phrase = tuple[str, ...]
"""Folded words, without articles."""


IN_PHRASES = frozenset({Kind.WORD, Kind.AND})
"""What phrases are made of: words, and the sign in "black & white"."""


def _words(part: str) -> Phrase:
    return tuple(fold(token.text) for token in tokenize(part) if token.kind in IN_PHRASES)


ARTICLES = frozenset(
    word
    for words in LANGUAGES.values()
    for part in words[Mark.ARTICLE].split(",")
    for word in _words(part)
)
"""Left out of prompts and phrases before the two are compared."""


def phrases(entry: str) -> list[Phrase]:
    """Return the phrases of an entry, folded like a prompt."""
    return [
        tuple(word for word in _words(part) if word not in ARTICLES) for part in entry.split(",")
    ]


def _collect() -> dict[Phrase, tuple[Meaning, str]]:
    """Return meaning and value of every phrase; only colours and formats have a value."""
    table: dict[Phrase, tuple[Meaning, str]] = {}
    for words in LANGUAGES.values():
        for meaning, entry in words.items():
            if meaning is Mark.ARTICLE:
                continue
            for phrase in phrases(entry):
                table.setdefault(phrase, (meaning, ""))
    for colour, entry in shared.COLOURS.items():
        for phrase in phrases(entry):
            table.setdefault(phrase, (Mark.COLOUR, colour))
    for image_format, entry in shared.FORMATS.items():
        for phrase in phrases(entry):
            table.setdefault(phrase, (Mark.FORMAT, image_format.value))
    return table


_TABLE = _collect()


def _measure() -> dict[str, int]:
    longest: dict[str, int] = {}
    for phrase in _TABLE:
        longest[phrase[0]] = max(longest.get(phrase[0], 0), len(phrase))
    return longest


_LONGEST = _measure()


_ENCLITICS = ("las", "los", "les", "la", "lo", "le", "nos", "me")
"""Pronouns that Spanish writes behind a verb, as in "gírala"."""


def find(words: Sequence[str], start: int) -> tuple[int, Meaning, str] | None:
    """Return length, meaning and value of the longest phrase that starts there, if any."""
    for length in range(min(_LONGEST.get(words[start], 0), len(words) - start), 0, -1):
        found = _TABLE.get(tuple(words[start : start + length]))
        if found is not None:
            return length, *found
    if not words[start].endswith(_ENCLITICS):
        return None
    for enclitic in _ENCLITICS:
        found = _TABLE.get((words[start].removesuffix(enclitic),))
        if found is not None:
            return 1, *found
    return None
