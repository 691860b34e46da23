"""What a prompt asks of the local engine, by a grammar of fixed words; no model is involved.

docs/local-engine.md describes the grammar. The words are in ``words``, a file a language;
``tokens`` and ``sentence`` read the beginning of the prompt, ``greys`` tells black and white
from a colour, ``drafts`` finds out which number belongs to which order, and ``building`` makes
operations of them. The time is linear in what
is read, which is bounded.
"""

from dataclasses import dataclass

from imgsvc.imaging.intent.building import build
from imgsvc.imaging.intent.drafts import draft
from imgsvc.imaging.intent.greys import order_greys
from imgsvc.imaging.intent.meanings import Head
from imgsvc.imaging.intent.sentence import read
from imgsvc.imaging.intent.tokens import MAX_CHARACTERS, first_tokens
from imgsvc.imaging.operations import Operation

MAX_OPERATIONS = 16
"""What a prompt asks for beyond that is ignored: each may take a second on a large picture."""

MAX_IGNORED, MAX_IGNORED_LENGTH = 20, 30
"""How many pieces of a prompt are reported as ignored, and how many characters of each."""

NOT_READ = "…"
"""Reported as ignored in place of all that stands beyond what is read."""

KNOWN = (
    "grayscale, sepia, invert, blur, sharpen, brightness, contrast, saturation, warmth, enhance,"
    " rotate, flip, crop, resize, thumbnail, border, rounded corners, posterize, solarize, emboss,"
    " edges, sketch, pixelate, vignette, text, convert"
)
"""The operations by their English names, for people."""


_OFTEN_FIGURES_OF_SPEECH = frozenset({Head.CONVERT, Head.TURN})
"""As in "convert it to black and white": nothing was missed if they came to nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """What was understood of a prompt, and which of its words were not."""

    operations: tuple[Operation, ...]  # in the order of the text
    ignored: tuple[str, ...]  # each once, cut to a sane length; something if nothing is done


def understand(prompt: str) -> Intent:
    """Return what the beginning of the prompt asks for; never raises."""
    prompt = prompt.strip()
    tokens, has_more = first_tokens(prompt)
    clauses = read(tokens)
    order_greys(clauses)
    drafts = draft(clauses)
    operations: list[Operation] = []
    ignored = drafts.ignored
    for order in drafts.orders:
        built = build(order) if len(operations) < MAX_OPERATIONS else []
        if built and len(operations) + len(built) <= MAX_OPERATIONS:
            operations += built
        elif order.head not in _OFTEN_FIGURES_OF_SPEECH:
            ignored.append(order.text)
    if not operations and not ignored and prompt:
        ignored.append(" ".join(prompt[:MAX_CHARACTERS].split()))
    told = shortened(ignored)
    if has_more:
        told = (*told[: MAX_IGNORED - 1], NOT_READ)
    return Intent(operations=tuple(operations), ignored=told)


def shortened(pieces: list[str]) -> tuple[str, ...]:
    """Return the first few different pieces, each cut to a sane length."""
    cut = (
        piece if len(piece) <= MAX_IGNORED_LENGTH else f"{piece[: MAX_IGNORED_LENGTH - 1]}…"
        for piece in pieces
    )
    return tuple(dict.fromkeys(cut))[:MAX_IGNORED]
