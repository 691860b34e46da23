"""From the tokens of a prompt to clauses of items with a meaning."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from imgsvc.imaging.intent.meanings import SEPARATORS, Head, Mark, Meaning
from imgsvc.imaging.intent.tokens import Kind, Token, fold, to_number, to_pair
from imgsvc.imaging.intent.vocabulary import ARTICLES, IN_PHRASES, find

_SIGNS = {
    Kind.PERCENT: Mark.PERCENT,
    Kind.DEGREES: Mark.DEGREES,
    Kind.AND: Mark.AND,
    Kind.COMMA: Mark.COMMA,
    Kind.STOP: Mark.STOP,
}
_UNITS = frozenset({Mark.PERCENT, Mark.DEGREES, Mark.PIXELS, Mark.BITS})
_SIDES = frozenset({Mark.WIDTH, Mark.HEIGHT})
_OF_A_SIDE = frozenset({Mark.NUMBER, Mark.PIXELS})
_WITHOUT_MEANING = frozenset({Mark.FILLER, Mark.MAKE})
_NEGATIONS = frozenset({Mark.NOT, Mark.NOT_AFTER})


class Item(NamedTuple):
    """A piece of the prompt with its meaning; None if it has none."""

    meaning: Meaning | None
    text: str  # as it was written
    number: float | None = None  # of numbers, also of those with a unit
    signed: bool = False  # the number has a sign
    target: bool = False  # "to" stands before the number
    pair: tuple[int, int] = (0, 0)  # of sizes and ratios
    word: str = ""  # of colours as #rrggbb, of formats, of quoted texts


@dataclass(slots=True)
class Clause:
    """What stands between two separators."""

    separator: Mark  # the one before it
    items: list[Item] = field(default_factory=list)
    makes: bool = False  # a verb says what the whole becomes: "make it grey"
    negated: bool = False  # it goes on with what an earlier clause forbids

    @property
    def meanings(self) -> list[Meaning | None]:
        """What its items mean, in order; None stands for a word without a meaning."""
        return [item.meaning for item in self.items]


def read(tokens: Iterable[Token]) -> list[Clause]:
    """Return the clauses of a prompt, in order; empty ones are left out."""
    clauses, current = [], Clause(Mark.STOP)
    for item in _joined(list(_items(tokens))):
        if item.meaning in SEPARATORS and isinstance(item.meaning, Mark):
            if current.items:
                clauses.append(current)
                current = Clause(item.meaning)
            elif item.meaning is not Mark.COMMA:  # ", and" is an "and"
                current = Clause(item.meaning)
        elif item.meaning not in _WITHOUT_MEANING:
            current.items.append(item)
        elif item.meaning is Mark.MAKE:
            current.makes = True
    if current.items:
        clauses.append(current)
    _spread_negations(clauses)
    return clauses


def _items(tokens: Iterable[Token]) -> Iterator[Item]:
    """Yield the prompt's items one by one: phrases are found, numbers have no unit yet."""
    kept, words = [], []
    for token in tokens:
        word = fold(token.text) if token.kind in IN_PHRASES else ""
        if word not in ARTICLES:
            kept.append(token)
            words.append(word)
    position = 0
    while position < len(kept):
        token = kept[position]
        length = 1
        if token.kind is Kind.WORD:
            if (found := find(words, position)) is not None:
                length, meaning, word = found
                text = " ".join(each.text for each in kept[position : position + length])
                yield Item(meaning, text, word=word)
            else:  # single letters are left over from abbreviations
                yield Item(None if len(token.text) > 1 else Mark.FILLER, token.text)
        else:
            yield _sign(token)
        position += length


def _sign(token: Token) -> Item:
    """Return the item of a token that is no word."""
    text = token.text
    if (mark := _SIGNS.get(token.kind)) is not None:
        return Item(mark, text)
    match token.kind:
        case Kind.NUMBER:
            number = to_number(text)
            meaning = None if number is None else Mark.NUMBER
            return Item(meaning, text, number=number, signed=not text[0].isdigit())
        case Kind.SIZE:
            return Item(Mark.SIZE, text, pair=to_pair(text))
        case Kind.RATIO:
            return Item(Mark.RATIO, text, pair=to_pair(text))
        case Kind.HEX:
            digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
            return Item(Mark.COLOUR, text, word=f"#{digits.lower()}")
        case _:
            return Item(Mark.QUOTED, text, word=text[1:-1])


def _joined(items: Sequence[Item]) -> Iterator[Item]:
    """Join numbers with what stands around them: "to", a unit, a side."""
    target, side, position = False, None, 0
    while position < len(items):
        item = items[position]
        position += 1
        if item.meaning is Mark.NUMBER:
            if position < len(items) and items[position].meaning in _UNITS:
                item = _with(item, items[position])
                position += 1
            if item.meaning in _OF_A_SIDE:
                if position < len(items) and items[position].meaning in _SIDES:
                    item = _with(item, items[position])
                    position += 1
                elif side is not None:
                    item = item._replace(meaning=side)
                elif position < len(items) and _is_counted(items[position], item):
                    item = item._replace(meaning=None)
            item = item._replace(target=target)
        elif item.meaning in _UNITS:
            item = item._replace(meaning=Mark.FILLER)  # a unit without a number
        if item.meaning not in _WITHOUT_MEANING:
            side = item.meaning if item.number is None and item.meaning in _SIDES else None
            target = item.meaning is Mark.TARGET
        yield item


def _with(number: Item, other: Item) -> Item:
    return number._replace(meaning=other.meaning, text=f"{number.text} {other.text}")


def _is_counted(item: Item, number: Item) -> bool:
    """Tell whether the number counts something that is none of our business: "3 cats"."""
    return item.meaning is None and number.meaning is Mark.NUMBER


def _spread_negations(clauses: Sequence[Clause]) -> None:
    """Mark clauses that go on with a negation: "don't crop, flip or rotate"."""
    # From the end: which clause is the last of a list that commas and an "or" hold together?
    last = len(clauses) - 1
    reach = list(range(len(clauses)))
    for number in range(last - 1, -1, -1):
        following = clauses[number + 1].separator
        if following is Mark.OR or (following is Mark.COMMA and reach[number + 1] > number + 1):
            reach[number] = reach[number + 1]
    end = -1
    for number, clause in enumerate(clauses):
        clause.negated = number <= end
        if not _NEGATIONS.isdisjoint(clause.meanings):
            end = max(end, reach[number])


def heads_forbidden(clause: Clause) -> list[bool]:
    """Return for each item of the clause whether an order in it is forbidden there."""
    meanings = clause.meanings
    if _NEGATIONS.isdisjoint(meanings):
        return [clause.negated] * len(meanings)
    first = meanings.index(Mark.NOT) if Mark.NOT in meanings else None
    behind = meanings.index(Mark.NOT_AFTER) if Mark.NOT_AFTER in meanings else None
    if behind is not None and not any(isinstance(each, Head) for each in meanings[behind:]):
        first = 0
    elif behind is not None:
        first = behind if first is None else min(first, behind)
    return [
        clause.negated or (first is not None and number >= first)
        for number in range(len(clause.items))
    ]
