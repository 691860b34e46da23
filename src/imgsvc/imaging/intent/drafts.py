"""From clauses to drafts: which order is meant, and which parameters belong to it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

from imgsvc.imaging.intent.meanings import Head, Mark
from imgsvc.imaging.intent.sentence import Clause, Item, heads_forbidden

QUALITIES = frozenset({Head.BRIGHTNESS, Head.CONTRAST, Head.SATURATION, Head.WARMTH})
"""Nouns: which way to turn them is said by other words."""

ADJUSTMENTS = QUALITIES | {
    Head.BRIGHTEN,
    Head.DARKEN,
    Head.SATURATE,
    Head.DESATURATE,
    Head.WARM,
    Head.COOL,
}
_SCALINGS = frozenset({Head.RESIZE, Head.SHRINK, Head.ENLARGE})
_TURNED_DOWN = ADJUSTMENTS | _SCALINGS | {Head.ENHANCE}
"""What "less" makes weaker; all else can only be done or left."""

_STRENGTH = frozenset({Mark.SLIGHTLY, Mark.STRONGLY})
_DIRECTIONS = frozenset({Mark.MORE, Mark.LESS})
_LEANING = _STRENGTH | _DIRECTIONS
_LENGTHS = frozenset({Mark.NUMBER, Mark.PIXELS, Mark.PERCENT})
_LINKS = frozenset({Mark.AND, Mark.COMMA})
_CONVERSIONS = frozenset({Mark.AS, Mark.TARGET})
_TURNS = frozenset({Mark.DEGREES, Mark.NUMBER, Mark.LEFT, Mark.RIGHT, Mark.AROUND})

ACCEPTED: dict[Head, frozenset[Mark]] = {
    Head.BLUR: _LENGTHS | _STRENGTH,
    Head.SHARPEN: frozenset({Mark.PERCENT}) | _STRENGTH,
    Head.VIGNETTE: frozenset({Mark.PERCENT}) | _STRENGTH,
    Head.SOLARIZE: frozenset({Mark.PERCENT}),
    Head.POSTERIZE: frozenset({Mark.BITS, Mark.NUMBER}),
    Head.PIXELATE: _LENGTHS,
    Head.ROTATE: _TURNS,
    Head.TURN: _TURNS,
    Head.FLIP: frozenset({Mark.HORIZONTAL, Mark.VERTICAL, Mark.AROUND}),
    Head.CROP: frozenset({Mark.SQUARE, Mark.RATIO, Mark.SIZE}),
    Head.THUMBNAIL: frozenset({Mark.SIZE, Mark.PIXELS, Mark.NUMBER, Mark.WIDTH, Mark.HEIGHT}),
    Head.BORDER: _LENGTHS | {Mark.COLOUR, Mark.WIDTH},
    Head.CORNERS: _LENGTHS,
    Head.TEXT: frozenset({Mark.QUOTED, Mark.COLOUR, Mark.TOP, Mark.CENTRE, Mark.BOTTOM}),
    Head.CONVERT: frozenset({Mark.FORMAT}),
}
ACCEPTED |= dict.fromkeys(
    ADJUSTMENTS, frozenset({Mark.PERCENT, Mark.NUMBER}) | _STRENGTH | _DIRECTIONS
)
ACCEPTED |= dict.fromkeys(
    _SCALINGS,
    frozenset({Mark.SIZE, Mark.PERCENT, Mark.PIXELS, Mark.NUMBER, Mark.WIDTH, Mark.HEIGHT})
    | {Mark.HALF, Mark.DOUBLE}
    | _DIRECTIONS,
)

# A parameter that stands alone says clearly enough what is wanted.
_IMPLIED: dict[Mark, Head] = {
    Mark.SIZE: Head.RESIZE,
    Mark.WIDTH: Head.RESIZE,
    Mark.HEIGHT: Head.RESIZE,
    Mark.SQUARE: Head.CROP,
    Mark.RATIO: Head.CROP,
    Mark.AROUND: Head.ROTATE,
}
_WORTH_TELLING = frozenset(
    {Mark.SIZE, Mark.RATIO, Mark.QUOTED, Mark.FORMAT, Mark.PERCENT, Mark.DEGREES, Mark.PIXELS}
    | {Mark.NUMBER, Mark.BITS, Mark.WIDTH, Mark.HEIGHT, Mark.COLOUR}
)
"""Parameters that are reported if no order takes them; other marks are too common."""


@dataclass(slots=True)
class Draft:
    """An order with the parameters that were found for it, one of each kind."""

    head: Head
    text: str  # the words that asked for it
    parameters: dict[Mark, Item] = field(default_factory=dict)
    linked: bool = False  # the one before it belongs to the same list
    is_vague: bool = False  # words without a meaning stand beside it

    def take(self, item: Item) -> bool:
        """Take the parameter if it fits and has no rival; tell whether it was taken."""
        mark = item.meaning
        fits = isinstance(mark, Mark) and mark in ACCEPTED.get(self.head, ())
        if not fits or mark in self.parameters:
            return False
        self.parameters[Mark(mark or "")] = item
        return True


@dataclass(slots=True)
class Drafts:
    """All orders of a prompt in order, and what was not understood."""

    orders: list[Draft] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def add(self, clause: Clause) -> None:
        """Add the orders of the next clause."""
        before = len(self.orders)
        meanings = clause.meanings
        strangers = None in meanings  # asked once: asked for each item, it takes seconds
        pending = _Assignment(self, clause, strangers).run()
        converts = not _CONVERSIONS.isdisjoint(meanings)
        alone = len(self.orders) == before and not strangers
        for item in pending:
            if alone and before and self.orders[before - 1].take(item):
                continue
            implied = self._imply(item, strangers=strangers, converts=converts)
            if not implied and item.meaning in _WORTH_TELLING:
                self.ignored.append(item.text)

    def _imply(self, item: Item, *, strangers: bool, converts: bool) -> bool:
        """Open a draft that the parameter alone implies; tell whether it did."""
        head = _IMPLIED.get(item.meaning) if isinstance(item.meaning, Mark) else None
        if item.meaning is Mark.FORMAT and converts:
            head = Head.CONVERT
        if head is None or (strangers and item.meaning is not Mark.SIZE):
            return False
        self.orders.append(Draft(head, item.text))
        return self.orders[-1].take(item)


@dataclass(slots=True)
class _Assignment:
    """Opens a draft for each order of a clause and gives it its parameters.

    The work for one order does not depend on the length of the clause, which may be the prompt.
    """

    drafts: Drafts
    clause: Clause
    strangers: bool  # whether the clause has words without a meaning
    current: Draft | None = None  # the last order
    # By kind, where in the clause the parameters stand that no order has taken.
    pending: dict[Mark, deque[int]] = field(default_factory=dict)
    stranger: bool = False  # an unknown word stands behind the last order

    def run(self) -> list[Item]:
        """Do it, and return the parameters left over."""
        items = self.clause.items
        forbidden = heads_forbidden(self.clause)
        orders = sum(isinstance(item.meaning, Head) for item in items)
        for place, item in enumerate(items):
            if item.meaning is None:
                self.stranger = True
                self.drafts.ignored.append(item.text)
            elif isinstance(item.meaning, Mark):
                if not forbidden[place]:
                    self._parameter(place, item.meaning)
            elif forbidden[place] or self._is_less(item.meaning):
                self.drafts.ignored.append(f"not {item.text}")
                self.current, self.pending = None, {}
            elif item.meaning is not Head.EDGES or orders == 1:
                self._order(item, item.meaning)
        return [items[place] for place in sorted(chain.from_iterable(self.pending.values()))]

    def _order(self, item: Item, head: Head) -> None:
        self.current = self._open(item, head)
        for mark, places in list(self.pending.items()):
            if self.current.take(self.clause.items[places[0]]):
                places.popleft()
                if not places:
                    del self.pending[mark]
        self.stranger = False

    def _parameter(self, place: int, mark: Mark) -> None:
        items = self.clause.items
        item = items[place]
        following = items[place + 1] if place + 1 < len(items) else None
        if mark is Mark.ADD:
            if following is not None and following.meaning is Mark.QUOTED:
                self.current = self._open(item, Head.TEXT)
        elif mark is Mark.COLOUR and (self.stranger or _is_unknown(following)):
            self.stranger = True  # "blur the red car": the colour is the car's
            self.drafts.ignored.append(item.text)
        elif self.current is None or _leans_forward(item, following) or not self.current.take(item):
            self.pending.setdefault(mark, deque()).append(place)

    def _is_less(self, head: Head) -> bool:
        """Tell whether "less" stands before something that can only be done, not undone."""
        if Mark.LESS not in self.pending or head in _TURNED_DOWN:
            return False
        last = max(places[-1] for places in self.pending.values())
        return self.pending[Mark.LESS][-1] == last

    def _open(self, item: Item, head: Head) -> Draft:
        """Add a draft for the order, or return the last one if that is meant once more."""
        orders = self.drafts.orders
        if self.current is not None:
            if head is self.current.head:
                return self.current  # "resize to a size of 50 %"
            if self.current.head is Head.ENHANCE and head in ADJUSTMENTS:
                orders.pop()  # "enhance the contrast" is one order
        draft = Draft(head, item.text, is_vague=self.strangers)
        draft.linked = self.current is None and self.clause.separator in _LINKS
        orders.append(draft)
        return draft


def draft(clauses: Sequence[Clause]) -> Drafts:
    """Return the drafts of all clauses."""
    drafts = Drafts()
    for clause in clauses:
        drafts.add(clause)
    _share_amounts(drafts.orders)
    return drafts


def _share_amounts(orders: Sequence[Draft]) -> None:
    """Give the amount at the end of a list to the nouns before it.

    "Increase brightness and contrast by 20 %" means both, and so does the direction.
    """
    for before, after in pairwise(orders):
        if _is_listed(before, after) and after.parameters.keys().isdisjoint(_DIRECTIONS):
            _copy(before, after, _DIRECTIONS)
    for after, before in pairwise(reversed(orders)):
        amounts = {Mark.PERCENT, Mark.NUMBER} | _STRENGTH
        if _is_listed(before, after) and before.parameters.keys().isdisjoint(amounts):
            _copy(after, before, amounts)


def _is_listed(before: Draft, after: Draft) -> bool:
    return after.linked and {before.head, after.head} <= QUALITIES


def _copy(source: Draft, target: Draft, marks: frozenset[Mark] | set[Mark]) -> None:
    target.parameters |= {m: item for m, item in source.parameters.items() if m in marks}


def _leans_forward(item: Item, following: Item | None) -> bool:
    """Tell whether the word belongs to the order right behind it: "10 % more contrast"."""
    return (
        item.meaning in _LEANING and following is not None and isinstance(following.meaning, Head)
    )


def _is_unknown(item: Item | None) -> bool:
    return item is not None and item.meaning is None
