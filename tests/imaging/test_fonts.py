from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from imgsvc.imaging import fonts
from imgsvc.imaging.fonts import typeface


def drawn(text: str) -> bytes:
    font_of, text = typeface(text)
    picture = Image.new("L", (300, 60))
    ImageDraw.Draw(picture).text((5, 5), text, font=font_of(30), fill=255)
    return picture.tobytes()


def test_ascii_is_drawn_with_the_same_font_on_every_machine() -> None:
    font_of, text = typeface("Hello!")
    assert (font_of(20).getname(), text) == (("Aileron", "Regular"), "Hello!")


def test_different_letters_look_different() -> None:
    words = ["Grüße", "Grusse", "Olá", "Ola", "año", "ano", "Ça va", "Ca va"]
    if fonts._wide_font() is None:  # noqa: SLF001 - what this machine has
        pytest.skip("no font with accents on this machine")
    assert len({drawn(word) for word in words}) == len(words)


def test_without_a_font_for_them_letters_lose_their_accents(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fonts, "_WIDE_FONTS", (str(tmp_path / "missing.ttf"),))
    fonts._wide_font.cache_clear()  # noqa: SLF001 - it has been asked before
    try:
        assert [typeface(text)[1] for text in ("Grüße", "Olá, año", "日本")] == [
            "Grusse",
            "Ola, ano",
            "?",
        ]
    finally:
        fonts._wide_font.cache_clear()  # noqa: SLF001 - the true answer again
