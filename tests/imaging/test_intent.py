import gc
import re
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgsvc.imaging import operations
from imgsvc.imaging.intent import (
    KNOWN,
    MAX_IGNORED,
    MAX_IGNORED_LENGTH,
    MAX_OPERATIONS,
    NOT_READ,
    Intent,
    understand,
)
from imgsvc.imaging.intent.meanings import Head
from imgsvc.imaging.intent.tokens import MAX_CHARACTERS, MAX_TOKENS, first_tokens
from imgsvc.imaging.intent.vocabulary import LANGUAGES, phrases
from imgsvc.imaging.intent.words import shared
from imgsvc.imaging.operations import Operation

ORDERS = [
    # every operation
    ("Make it black and white", "grayscale"),
    ("sepia", "sepia"),
    ("invert the colours", "invert"),
    ("blur it", "blur 25%"),
    ("blur it by 12 px", "blur 12 px"),
    ("sharpen", "sharpen 100%"),
    ("make it brighter", "brightness +30%"),
    ("darken it a little", "brightness -15%"),
    ("much more contrast", "contrast +60%"),
    ("less saturated", "saturation -40%"),
    ("warmer", "warmth +40%"),
    ("cool tones, please", "warmth -40%"),
    ("make it pop!", "enhance"),
    ("Enhance.", "enhance"),
    ("rotate left", "rotate -90"),
    ("rotate right", "rotate 90"),
    ("turn it upside down", "rotate 180"),
    ("rotate by 12.5 degrees", "rotate 12.5"),
    ("rotate -450°", "rotate -90"),
    ("flip", "flip horizontal"),
    ("mirror it vertically", "flip vertical"),
    ("crop to a square", "crop 1:1"),
    ("crop to 4:3", "crop 4:3"),
    ("16:9", "crop 16:9"),
    ("crop to 800x600", "crop 800:600; resize 800x600"),
    ("resize to 800 x 600 px", "resize 800x600"),
    ("640 pixels wide", "resize width 640"),
    ("height of 480 px", "resize height 480"),
    ("resize to 50%", "resize 50%"),
    ("shrink it by 30 %", "resize 70%"),
    ("shrink it to 30 %", "resize 30%"),
    ("20% larger", "resize 120%"),
    ("a thumbnail", "thumbnail 256x256"),
    ("thumbnail of 100x80", "thumbnail 100x80"),
    ("a 10 px red border", "border 10 px #ff0000"),
    ("border 5% #FA0", "border 5% #ffaa00"),
    ("round the corners", "round corners 8%"),
    ("rounded corners of 20 px", "round corners 20 px"),
    ("posterize to 2 bits", "posterize 2 bits"),
    ("solarize", "solarize 50%"),
    ("emboss", "emboss"),
    ("find edges", "edges"),
    ("a pencil sketch", "sketch"),
    ("pixelate it, 8 px", "pixelate 8 px"),
    ("strong vignette", "vignette 100%"),
    ('add the text "Hi, you!" at the top in white', 'text "Hi, you!" top #ffffff'),
    ("convert to WebP", "convert webp"),
    ("save it as jpg", "convert jpeg"),
    # several in one prompt, with parameters that find their order
    ("grayscale, then rotate left and add a border", "grayscale; rotate -90; border 3% #000000"),
    ("rotate left, then grayscale", "rotate -90; grayscale"),
    ("20% brighter and 10% more contrast", "brightness +20%; contrast +10%"),
    ("20% brighter 10% more contrast", "brightness +20%; contrast +10%"),
    ("increase brightness and contrast by 20%", "brightness +20%; contrast +20%"),
    ("enhance the contrast", "contrast +30%"),
    ("brightness -20%, saturation to 150%", "brightness -20%; saturation +50%"),
    ("make it square and 512 px wide", "crop 1:1; resize width 512"),
    ("a border, 4 px wide, blue", "border 4 px #0000ff"),
    ("sharpen, a bit brighter", "sharpen 100%; brightness +15%"),
    # negations
    ("don't blur it, rotate by 90 degrees", "rotate 90"),
    ("do not crop, rotate or resize it; sharpen", "sharpen 100%"),
    ("sepia without a border", "sepia"),
    ("remove the text", ""),
    ("less blur", ""),
    ("Drehe das Bild nicht, sondern spiegle es", "flip horizontal"),
    ("Mach es heller, aber ohne Rahmen", "brightness +30%"),
    ("N'applique pas de flou, mais recadre en carré", "crop 1:1"),
    ("Rends l'image plus claire, sans vignettage", "brightness +30%"),
    ("no la gires, voltea", "flip horizontal"),
    ("sem desfoque, com vinheta", "vignette 60%"),
    # German, French, Spanish, Portuguese
    ("Drehe das Bild um 90 Grad nach links", "rotate -90"),
    ("Mach es schwarz-weiß und 30 % heller", "grayscale; brightness +30%"),
    ("Füge einen roten Rahmen mit 5 Pixeln hinzu", "border 5 px #ff0000"),
    ("Schneide es quadratisch zu, verkleinere es auf 50 %", "crop 1:1; resize 50%"),
    ("Text „Grüße“ unten", 'text "Grüße" bottom #ffffff'),
    ("Mets l'image en noir et blanc, puis tourne-la à droite", "grayscale; rotate 90"),
    ("Augmente le contraste de 20 %, bordure bleue", "contrast +20%; border 3% #0000ff"),
    ("Arrondis les coins et convertis en png", "round corners 8%; convert png"),
    ("Écris « Bonjour » en haut", 'text "Bonjour" top #ffffff'),
    ("Conviértela a blanco y negro y gírala 45 grados", "grayscale; rotate 45"),
    ("Añade un marco rojo de 8 píxeles", "border 8 px #ff0000"),
    ("más brillo y menos saturación", "brightness +30%; saturation -40%"),
    ("Recorta en cuadrado, desenfoca un poco", "crop 1:1; blur 12.5%"),
    ("Deixe a imagem em preto e branco e gire 180 graus", "grayscale; rotate 180"),
    ("Redimensione para 640 pixels de largura", "resize width 640"),
    ('Adicione o texto "Olá" no topo', 'text "Olá" top #ffffff'),
    # grey as an order and as a colour
    *((prompt, "grayscale") for prompt in ("gray", "Grey.", "in gray", "make it gray")),
    *((prompt, "grayscale") for prompt in ("turn grey", "convert it to gray", "mach es grau")),
    *((prompt, "grayscale") for prompt in ("rends-la grise", "mets-la en gris", "hazla gris")),
    *((prompt, "grayscale") for prompt in ("deixe a imagem cinza", "grau, bitte", "gris", "cinza")),
    *((prompt, "grayscale") for prompt in ("b&w", "b/w", "B & W", "B&W photo", "black & white")),
    *((prompt, "grayscale") for prompt in ("N&B", "P&B", "schwarz & weiß", "blanco & negro")),
    ("rotate left and make it gray", "rotate -90; grayscale"),
    ("make it gray and add a hat", "grayscale"),
    ("blur it, gray, 10 px border", "blur 25%; grayscale; border 10 px #000000"),
    ("make it gray without a gray border", "grayscale"),
    ("make it gray with a red border", "grayscale; border 3% #ff0000"),
    ("a gray border", "border 3% #808080"),
    ("a border, gray and 10 px wide", "border 10 px #808080"),
    ("turn left, gray border", "rotate -90; border 3% #808080"),
    ("don't make it gray", ""),
    ("mach es nicht grau", ""),
    ("a gray sky", ""),
    ("make the sky gray", ""),
    ("make the dog big and gray", ""),
    ("gray and stormy clouds", ""),
    ("red, white and gray", ""),
    ("#808080", ""),
    # what is none of its business
    ("Make the sky glow like a sunset", ""),
    ("make the dog bigger", ""),
    ("blur the red car", "blur 25%"),
    ("Rotate the photo of 3 cats", "rotate 90"),
    ("turn the lights on", ""),
    ("", ""),
]


@pytest.mark.parametrize(("prompt", "expected"), ORDERS, ids=[prompt for prompt, _ in ORDERS])
def test_a_prompt_means_these_operations(prompt: str, expected: str) -> None:
    assert "; ".join(map(str, understand(prompt).operations)) == expected


@pytest.mark.parametrize(
    ("prompt", "ignored"),
    [
        ("Blur the background", ("background",)),
        ("Make the sky glow, make the sky burn", ("sky", "glow", "burn")),
        ("don't blur it", ("not blur",)),
        ("crop it", ("crop",)),
        ("don't make it gray", ("not gray",)),
        ("a gray sky", ("gray", "sky")),
        ("blur it by 50 %, rotate it by 30 %", ("30 %",)),
        (f"flip {'x' * 100}", (f"{'x' * (MAX_IGNORED_LENGTH - 1)}…",)),
    ],
)
def test_what_was_not_understood_or_obeyed_is_reported(
    prompt: str, ignored: tuple[str, ...]
) -> None:
    assert understand(prompt).ignored == ignored


@pytest.mark.parametrize(
    ("prompt", "ignored"),
    [
        ("make it", ("make it",)),
        ("please,\n turn  it", ("please, turn it",)),
        ("?!", ("?!",)),
        ("\N{DOG FACE}", ("\N{DOG FACE}",)),
        ("- " * 3000, (f"{'- ' * 14}-…", NOT_READ)),
        (" \n", ()),
    ],
)
def test_a_prompt_without_any_meaning_is_reported_itself(
    prompt: str, ignored: tuple[str, ...]
) -> None:
    assert understand(prompt) == Intent(operations=(), ignored=ignored)


def test_a_prompt_gets_a_bounded_number_of_operations() -> None:
    intent = understand("blur, sharpen, " * 100)
    assert len(intent.operations) == MAX_OPERATIONS
    assert "blur" in intent.ignored


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_words_for_every_operation(language: str) -> None:
    nouns_elsewhere = {Head.TURN, Head.TEXT}  # "turn" is weak in English; "Text" is German too
    assert set(Head) - set(LANGUAGES[language]) <= nouns_elsewhere


def test_no_word_has_two_meanings() -> None:
    tables: list[Mapping[Any, str]] = [*LANGUAGES.values(), shared.COLOURS, shared.FORMATS]
    spoken = [
        {phrase: meaning for meaning, entry in table.items() for phrase in phrases(entry) if phrase}
        for table in tables
    ]
    for one, other in combinations(spoken, 2):
        assert {phrase for phrase in one.keys() & other.keys() if one[phrase] != other[phrase]} == (
            set()
        )
    for table, words in zip(tables, spoken, strict=True):
        entries = [phrase for entry in table.values() for phrase in phrases(entry) if phrase]
        assert sorted(set(entries)) == sorted(words)


KNOWN_WORDS = [
    word.strip()
    for words in LANGUAGES.values()
    for entry in words.values()
    for word in entry.split(",")
]
PIECES = st.one_of(
    st.sampled_from(KNOWN_WORDS),
    st.sampled_from(
        ["90", "50%", "10 px", "16:9", "800x600", "#f00", '"Hi"', "red", ",", ".", "-"]
    ),
    st.text(max_size=8),
)


@given(st.lists(PIECES, max_size=40).map(" ".join))
@settings(deadline=None, max_examples=100)
def test_the_short_forms_mean_what_was_understood(prompt: str) -> None:
    understood = understand(prompt).operations
    again = understand("\n".join(map(str, understood)))
    assert list(map(str, again.operations)) == list(map(str, understood))


@given(st.text(max_size=500).flatmap(lambda text: st.integers(1, 64).map(lambda n: text * n)))
@settings(deadline=None, max_examples=100)
def test_any_text_has_a_bounded_meaning(prompt: str) -> None:
    intent = understand(prompt[:32_000])
    assert intent.operations or intent.ignored or not prompt[:32_000].strip()
    assert len(intent.operations) <= MAX_OPERATIONS
    assert len(intent.ignored) <= MAX_IGNORED
    assert all(len(word) <= MAX_IGNORED_LENGTH for word in intent.ignored)


ALONE = [
    *('"', "\u201c", "\u201e", "\u00ab", "\u2018"),  # the beginnings of one long quotation
    *("'", "'a ", "a'", "1", "1x", "1:", "1,", "1 2 ", "#", "-", "%", "\n", "\u00e9", "\ufdfa"),
    *("or, ", "not, ", "blur or ", "not blur, ", "more ", "5 px ", "blur ", "red "),
]


@pytest.mark.parametrize("piece", ALONE)
def test_a_prompt_of_one_piece_is_read_to_its_end(piece: str) -> None:
    intent = understand((piece * MAX_TOKENS)[: MAX_TOKENS - 20] + "\nwhatever, sepia")
    assert len(intent.operations) <= MAX_OPERATIONS
    assert {"whatever", "sepia", "not sepia"} & {*intent.ignored, *map(str, intent.operations)} or (
        len(intent.ignored) == MAX_IGNORED
    )


def calls_made(prompt: str) -> int:
    """Return how many functions are called to read the prompt: what takes its time."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    gc.disable()  # it calls Hypothesis back now and then
    sys.setprofile(note)
    try:
        understand(prompt)
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


@pytest.mark.parametrize("piece", ALONE)
def test_what_is_not_read_of_a_long_prompt_takes_no_work_and_is_reported(piece: str) -> None:
    long, longer = ((piece * size)[:size].strip() for size in (4_000, 32_000))
    if longer:
        assert understand(longer).ignored[-1] == NOT_READ
    assert calls_made(long) == calls_made(longer)


def test_a_prompt_is_cut_at_a_word() -> None:
    tokens, has_more = first_tokens("brightness " * 1000)
    assert has_more
    assert {token.text for token in tokens} == {"brightness"}
    assert len(tokens) == MAX_CHARACTERS // len("brightness ")


def test_a_prompt_within_the_limits_is_read_as_a_whole() -> None:
    by_characters, by_tokens = "x" * (MAX_CHARACTERS - 6) + " sepia", "1 " * (MAX_TOKENS - 1)
    assert list(map(str, understand(by_characters).operations)) == ["sepia"]
    assert list(map(str, understand(by_tokens + "sepia").operations)) == ["sepia"]
    for prompt in (f" {by_characters} ", by_tokens + "sepia\n"):
        assert NOT_READ not in understand(prompt).ignored
    for prompt in (f"{by_characters}s", f"{by_tokens} 1 sepia"):
        assert understand(prompt).operations == ()
        assert understand(prompt).ignored[-1] == NOT_READ


@pytest.mark.parametrize("first", ["300x200 ", "50 % ", "less ", "sepia blur ", "cat "])
@pytest.mark.parametrize("then", ["sepia blur ", "edges ", "bigger ", "300x200 "])
def test_twice_as_long_a_prompt_takes_twice_the_work(first: str, then: str) -> None:
    half, whole = (calls_made(first * count + then * count) for count in (35, 70))
    assert 1.5 * half < whole < 2.5 * half


ROWS = re.findall(
    r"^\| [^|]+ \| `([^`]+)` \| ([^|]+) \|",
    (Path(__file__).parents[2] / "docs" / "local-engine.md").read_text(),
    re.MULTILINE,
)
NEEDED = {"crop": " 4:3", "text": ' "Hello"', "convert": " webp", "resize": " 50%"}


@pytest.mark.parametrize(("short", "words"), ROWS, ids=[short for short, _ in ROWS])
def test_the_words_in_the_documentation_are_understood(short: str, words: str) -> None:
    [operation] = understand(short).operations
    assert str(operation) == short
    for word in words.split(", "):
        [said] = understand(word + NEEDED.get(short.split(maxsplit=1)[0], "")).operations
        assert type(said) is type(operation)
        assert str(said).split()[0] == str(operation).split()[0]


def test_every_operation_is_documented_and_named_in_the_refusal() -> None:
    classes = {type(understand(short).operations[0]) for short, _ in ROWS}
    exported = [getattr(operations, name) for name in operations.__all__]
    kinds = {each for each in exported if isinstance(each, type) and issubclass(each, Operation)}
    assert classes == kinds - {Operation}
    assert len(KNOWN.split(", ")) == len(ROWS)
