"""From the text of a prompt to its tokens: words, numbers and signs."""

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

MAX_CHARACTERS, MAX_TOKENS = 2000, 300
"""How much of a prompt is read: instructions stand at its beginning."""

_MOST_DIGITS = 6
"""A number with more is none that an operation could use."""

_MOST_LETTERS = 40
"""A word with more is none of the grammar; compatibility forms may grow to 18 times as many."""

# A hyphen, the minus sign and the dash that many programs make of it.
_MINUS = "-\u2212\u2013"
_SIGNS = f"+{_MINUS}"


class Kind(StrEnum):
    """What a token is; the values are the names of groups in the pattern below."""

    QUOTED = "quoted"
    HEX = "hex"
    SIZE = "size"
    RATIO = "ratio"
    NUMBER = "number"
    WORD = "word"
    PERCENT = "percent"
    DEGREES = "degrees"
    AND = "and"
    COMMA = "comma"
    STOP = "stop"


class Token(NamedTuple):  # quicker to make than a frozen dataclass, and there are many
    """A piece of the prompt, as it was written."""

    kind: Kind
    text: str


# No part can match in two ways, and every repetition ends at a character that cannot begin
# the next part: so the time is linear. Apostrophes and hyphens inside words are skipped.
_TOKEN = re.compile(
    r"""
      (?P<quoted>  "[^"\n]*"  |  [“„][^“”„\n]*[“”]  |  «[^«»\n]*»
                |  \u2018[^\u2018\u2019\n]*\u2019  |  (?<!\w)'[^'\n]*'(?!\w)  )
    | (?P<hex>     \#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})(?!\w)  )
    | (?P<size>    [0-9]{1,6}\s{0,2}[x\u00d7*]\s{0,2}[0-9]{1,6}(?![0-9])  )
    | (?P<ratio>   [0-9]{1,3}\s?[:/]\s?[0-9]{1,3}(?![0-9])  )
    | (?P<number>  (?:(?<!\w)[+\-\u2212\u2013]\s?)?[0-9]+(?:[.,][0-9]+)?  )
    | (?P<word>    [^\W\d_]+  )
    | (?P<percent> %  )
    | (?P<degrees> [°º]  )
    | (?P<and>     [&+]  )
    | (?P<comma>   ,  )
    | (?P<stop>    [.;!?\n]  )
    """,
    re.VERBOSE,
)

_KINDS = {kind.value: kind for kind in Kind}

# Normalizing sorts combining characters in quadratic time; a run of them has no white space.
_PIECE = re.compile(r"\S{1,100}")

# As much as is read, up to the end of a word, if one ends near the limit.
_BEGINNING = re.compile(rf".{{{MAX_CHARACTERS - 100},{MAX_CHARACTERS}}}(?!\S)", re.DOTALL)


def first_tokens(text: str) -> tuple[list[Token], bool]:
    """Return the tokens that are read of a prompt, and whether there is more than these."""
    more = len(text) > MAX_CHARACTERS
    if more:
        ends_with_word = _BEGINNING.match(text)
        text = ends_with_word[0] if ends_with_word else text[:MAX_CHARACTERS]
    tokens = list(islice(tokenize(text), MAX_TOKENS + 1))
    return tokens[:MAX_TOKENS], more or len(tokens) > MAX_TOKENS


def tokenize(text: str) -> Iterator[Token]:
    """Yield the tokens of text in order; what is none of the kinds is left out."""
    composed = _PIECE.sub(lambda piece: unicodedata.normalize("NFC", piece[0]), text)
    for match in _TOKEN.finditer(composed):
        yield Token(_KINDS[match.lastgroup or ""], match[0])


def fold(word: str) -> str:
    """Return a word in small letters without accents, but for the French `à`."""
    small = word.casefold()
    if small.isascii() or small == "à" or len(small) > _MOST_LETTERS:
        return small
    parts = unicodedata.normalize("NFKD", small)
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def to_number(text: str) -> float | None:
    """Return the value of a number with an optional sign and a decimal point or comma.

    None if it is too long to mean anything here.
    """
    digits = text.lstrip(_SIGNS).lstrip().replace(",", ".")
    if len(digits) > _MOST_DIGITS + 3 or len(digits.partition(".")[0]) > _MOST_DIGITS:
        return None
    value = float(digits)
    return -value if text[0] in _MINUS else value


def to_pair(text: str) -> tuple[int, int]:
    """Return the two numbers of a size or a ratio."""
    first, second = re.findall("[0-9]+", text)
    return int(first), int(second)
