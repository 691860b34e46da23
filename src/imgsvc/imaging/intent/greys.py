"""Greys that the whole picture becomes: "make it grey" is an order, "a grey border" a colour."""

from collections.abc import Sequence

from imgsvc.imaging.intent.drafts import ACCEPTED
from imgsvc.imaging.intent.meanings import Head, Mark
from imgsvc.imaging.intent.sentence import Clause

_GREY = "#808080"  # what the names of the colour stand for
_VERBS = frozenset({Head.TURN, Head.CONVERT, Mark.ADD})  # "turn it", "put it in"
_BESIDE = _VERBS | {Mark.COLOUR, Mark.AS, Mark.TARGET, Mark.NOT, Mark.NOT_AFTER}
_OF_THINGS = frozenset({None, Mark.COLOUR})


def order_greys(clauses: Sequence[Clause]) -> None:
    """Make an order for black and white of each grey that is one, in place.

    It is one if its clause has nothing else, but for a verb as in "make it grey". It is none
    if the order before it takes colours, or if it stands, without a verb, in a list with words
    that have no meaning or with other colours: "the dog big and grey", "red, white and grey".
    """
    if not any(item.word == _GREY for clause in clauses for item in clause.items):
        return  # as in most prompts
    takes_colours = False  # the last order does
    befores, behinds = [None, *clauses], [*clauses[1:], None]
    for before, clause, behind in zip(befores, clauses, behinds, strict=False):
        meanings = clause.meanings
        place = _place_of_grey(clause)
        heads = [meaning for meaning in meanings if isinstance(meaning, Head)]
        has_verb = clause.makes or not _VERBS.isdisjoint(meanings)
        if (
            place is not None
            and (heads or not takes_colours)
            and (has_verb or not (_lists_things(before, clause) or _lists_things(behind, behind)))
        ):
            clause.items[place] = clause.items[place]._replace(meaning=Head.GRAYSCALE)
            takes_colours = False
        elif heads:
            takes_colours = Mark.COLOUR in ACCEPTED.get(heads[-1], ())


def _place_of_grey(clause: Clause) -> int | None:
    """Return the index of the only grey of a clause that has nothing else but a verb.

    What a "not" behind it forbids does not count: "make it grey without a border".
    """
    meanings = clause.meanings
    if Mark.COLOUR not in meanings:
        return None
    place = meanings.index(Mark.COLOUR)
    if Mark.NOT in meanings[place:]:
        meanings = meanings[: meanings.index(Mark.NOT, place)]
    item = clause.items[place]
    is_named_grey = item.word == _GREY and not item.text.startswith("#")
    alone = _BESIDE.issuperset(meanings) and meanings.count(Mark.COLOUR) == 1
    return place if is_named_grey and alone else None


def _lists_things(neighbour: Clause | None, later: Clause | None) -> bool:
    """Tell whether a neighbour in the same list, which later goes on, is about other things."""
    if neighbour is None or later is None or later.separator is Mark.STOP:
        return False
    return not _OF_THINGS.isdisjoint(neighbour.meanings)
