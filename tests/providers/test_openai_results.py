import io
from collections.abc import Callable

import pytest
from PIL import Image

from imgsvc.errors import ProviderBadAnswer
from imgsvc.imaging.formats import SNIFF_BYTES, TAIL_BYTES, ImageFormat, is_whole
from imgsvc.providers import EditOptions, EditRequest
from imgsvc.providers.openai.provider import OpenAIProvider
from providers.desks import edit
from providers.pictures import encoded, with_extra_chunk
from standins.openai import OpenAIStandin

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]

KINDS = [ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP]
OUTPUTS = [
    ("PNG", {}),
    ("PNG", {"mode": "RGBA"}),
    ("PNG", {"mode": "P"}),
    ("PNG", {"mode": "1", "size": (1, 1)}),
    ("PNG", {"save_all": True, "append_images": [Image.new("RGB", (48, 32))]}),
    ("JPEG", {}),
    ("JPEG", {"mode": "L", "size": (1, 1)}),
    ("JPEG", {"mode": "CMYK", "progressive": True}),
    ("JPEG", {"comment": b"made by hand", "size": (900, 700), "quality": 95}),
    ("WEBP", {}),
    ("WEBP", {"mode": "RGBA", "size": (1, 1)}),
    ("WEBP", {"lossless": True, "size": (300, 200)}),
    ("WEBP", {"save_all": True, "append_images": [Image.new("RGB", (48, 32))]}),
    ("WEBP", {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"}),
]


def looks_whole(content: bytes, kind: ImageFormat) -> bool:
    return is_whole(content[:SNIFF_BYTES], content[-TAIL_BYTES:], len(content), kind)


@pytest.mark.parametrize("extra", [0, 7, 4096, 200_001])
@pytest.mark.parametrize(("kind", "options"), OUTPUTS)
async def test_a_real_file_is_whole(kind: str, options: dict[str, object], extra: int) -> None:
    content = encoded(kind, **options)  # type: ignore[arg-type]  # each fits its parameter
    if extra:
        content = with_extra_chunk(content, bytes(extra))
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    assert looks_whole(content, ImageFormat[kind])


@pytest.mark.parametrize("kind", KINDS)
async def test_no_file_that_is_cut_short_is_whole(kind: ImageFormat) -> None:
    content = encoded(kind.name, size=(64, 64))
    assert not [n for n in range(len(content)) if looks_whole(content[:n], kind)]


PNG, WEBP = encoded("PNG"), encoded("WEBP")


@pytest.mark.parametrize(
    ("content", "kind", "whole"),
    [
        (PNG + bytes(TAIL_BYTES - 12), ImageFormat.PNG, True),  # padding does no harm
        (PNG + bytes(TAIL_BYTES), ImageFormat.PNG, False),
        (PNG[:8] + PNG[33:], ImageFormat.PNG, False),  # without IHDR
        (PNG[:16] + bytes(4) + PNG[20:], ImageFormat.PNG, False),  # no width
        (PNG[:20] + bytes(4) + PNG[24:], ImageFormat.PNG, False),  # no height
        (PNG[:16] + b"\xff" + PNG[17:], ImageFormat.PNG, False),  # wider than any PNG
        (PNG[:16] + b"\x00\x00\x0a\x00" + PNG[20:], ImageFormat.PNG, True),
        (encoded("JPEG") + bytes(TAIL_BYTES - 2), ImageFormat.JPEG, True),
        (encoded("JPEG") + bytes(TAIL_BYTES), ImageFormat.JPEG, False),
        (WEBP + bytes(2), ImageFormat.WEBP, False),
        (b"RIFF\x05\x00\x00\x00WEBPx", ImageFormat.WEBP, False),
        (b"RIFF\x0d\x00\x00\x00WEBPVP8 \x01\x00\x00\x00x", ImageFormat.WEBP, True),
        (b"RIFF\x0d\x00\x00\x00WEBPVP8 \x01\x00\x00\x00x\x00", ImageFormat.WEBP, True),
        (b"RIFF\x0d\x00\x00\x00WEBPVP8 \x01\x00\x00\x00x\x00\x00", ImageFormat.WEBP, False),
        (WEBP, ImageFormat.PNG, False),
        (b"", ImageFormat.JPEG, False),
    ],
)
async def test_both_ends_of_a_file_decide(content: bytes, kind: ImageFormat, whole: bool) -> None:
    assert looks_whole(content, kind) is whole


async def test_only_formats_of_results_can_be_asked_for() -> None:
    with pytest.raises(ValueError, match="gif"):
        looks_whole(encoded("GIF"), ImageFormat.GIF)


@pytest.mark.parametrize("missing", [1, 2, 3, 1500])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_only_begins_like_a_picture_is_refused(
    kind: ImageFormat,
    missing: int,
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
) -> None:
    standin.answer = with_extra_chunk(encoded(kind.name), bytes(4096))[:-missing]
    request = make_request(options=EditOptions(output_format=kind))
    with pytest.raises(ProviderBadAnswer, match=f"a {kind} file that is damaged or cut short"):
        await edit(provider, request)


@pytest.mark.parametrize("extra", [3000, 3001, 3002])  # each padding of base64
@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_answer_passes_whatever_its_length(
    kind: ImageFormat,
    extra: int,
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
) -> None:
    standin.answer = with_extra_chunk(encoded(kind.name), bytes(extra))
    result = await edit(provider, make_request(options=EditOptions(output_format=kind)))
    assert await result.to_bytes() == standin.answer
