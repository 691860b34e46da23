import base64
import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from structlog.testing import capture_logs

from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import EditOptions, EditRequest, OpenAIConfig
from imgsvc.providers.openai.provider import OpenAIProvider, open_openai, upload_name
from providers.desks import edit
from providers.pictures import encoded, with_extra_chunk
from standins.openai import OpenAIStandin

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]


async def test_the_edited_picture_comes_back_as_the_base64_that_was_sent(
    provider: OpenAIProvider, make_request: MakeRequest
) -> None:
    result = await edit(provider, make_request(filename="red.png"))

    assert result.is_base64
    assert result.format is ImageFormat.PNG
    with Image.open(io.BytesIO(await result.to_bytes())) as image:
        assert image.size == (48, 32)
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)  # mirrored


async def test_json_escapes_in_the_picture_are_understood(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    standin.answer = with_extra_chunk(encoded("PNG"), bytes(range(256)) * 4)
    standin.fail_next("escaped_json")
    result = await edit(provider, make_request())
    assert await result.to_bytes() == standin.answer


async def test_a_plain_request_sends_model_quality_and_format_and_nothing_else(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    await edit(provider, make_request())

    assert standin.calls[0].fields == {
        "model": "gpt-image-2",
        "prompt": "Make it night",
        "quality": "medium",
        "output_format": "png",
        "n": "1",
    }
    assert standin.calls[0].mask is None


async def test_the_request_has_precedence_over_the_configuration(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    options = EditOptions(
        model="gpt-image-2.6-flare",
        quality="high",
        size="1024x1024",
        background="opaque",
        output_format=ImageFormat.WEBP,
    )
    result = await edit(provider, make_request(options=options))

    assert result.format is ImageFormat.WEBP
    assert standin.calls[0].fields == {
        "model": "gpt-image-2.6-flare",
        "prompt": "Make it night",
        "quality": "high",
        "size": "1024x1024",
        "background": "opaque",
        "output_format": "webp",
        "n": "1",
    }


async def test_the_mask_is_sent_as_it_is(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest, tmp_path: Path
) -> None:
    mask = tmp_path / "mask"
    mask.write_bytes(encoded("PNG", "RGBA"))
    await edit(provider, make_request(mask=mask))

    sent = standin.calls[0].mask
    assert sent is not None
    assert (sent.filename, sent.content_type) == ("mask.png", "image/png")
    assert sent.data == mask.read_bytes()


@pytest.mark.parametrize(
    ("content", "filename", "sent_name", "sent_type"),
    [
        (encoded("PNG"), "photo.jpg", "photo.png", "image/png"),
        (encoded("JPEG"), "photo.png", "photo.jpg", "image/jpeg"),
        (encoded("WEBP"), "my photo", "my_photo.webp", "image/webp"),
        (encoded("PNG", "RGBA"), None, "image.png", "image/png"),
        (encoded("PNG", "L"), "grey.bmp", "grey.png", "image/png"),
    ],
    ids=["png", "jpeg", "webp", "alpha", "grey"],
)
async def test_a_file_that_the_api_takes_is_sent_unchanged_under_its_true_type(
    content: bytes,
    filename: str | None,
    sent_name: str,
    sent_type: str,
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
) -> None:
    await edit(provider, make_request(content, filename=filename))

    sent = standin.calls[0].image
    assert (sent.filename, sent.content_type) == (sent_name, sent_type)
    assert sent.data == content


EXIF_SIDEWAYS = Image.Exif()
EXIF_SIDEWAYS[0x0112] = 6


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (encoded("BMP"), (48, 32)),
        (encoded("GIF"), (48, 32)),
        (encoded("TIFF"), (48, 32)),
        (encoded("PNG", "P"), (48, 32)),
        (encoded("PNG", "I;16"), (48, 32)),
        (encoded("PNG", "1"), (48, 32)),
        (encoded("JPEG", "CMYK"), (48, 32)),
        (encoded("JPEG", exif=EXIF_SIDEWAYS), (32, 48)),
    ],
    ids=["bmp", "gif", "tiff", "palette", "16 bit", "1 bit", "cmyk", "rotated"],
)
async def test_a_file_that_the_api_does_not_take_is_converted_first(
    content: bytes,
    size: tuple[int, int],
    provider: OpenAIProvider,
    standin: OpenAIStandin,
    make_request: MakeRequest,
) -> None:
    await edit(provider, make_request(content, filename="scan.dat"))

    sent = standin.calls[0].image
    with Image.open(io.BytesIO(sent.data)) as image:
        assert image.mode in {"L", "RGB", "RGBA"}
        assert image.size == size
        assert image.getexif().get(0x0112, 1) == 1
    assert sent.filename in {"scan.png", "scan.jpg"}


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (None, "image.png"),
        ("", "image.png"),
        ("cat.jpeg", "cat.png"),
        ("two words.png", "two_words.png"),
        ("../../etc/passwd", "passwd.png"),
        ("C:\\pictures\\cat.bmp", "cat.png"),
        ("Füße.png", "F_e.png"),
        ("猫.png", "image.png"),
        ('a"\r\nX-Evil: 1.png', "a_X-Evil_1.png"),
        (".png", "png.png"),
        ("a" * 500, "a" * 100 + ".png"),
    ],
)
async def test_a_file_name_is_made_safe_to_send(filename: str | None, expected: str) -> None:
    assert upload_name(filename, ImageFormat.PNG) == expected


async def test_the_environment_adds_nothing_to_a_call(
    config: OpenAIConfig,
    pool: ImagePool,
    standin: OpenAIStandin,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-leaked")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-leaked")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Leaked: yes\nAuthorization: Bearer leaked")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with open_openai(config, pool) as provider:
        await edit(provider, make_request())

    headers = standin.calls[0].headers
    assert headers["Authorization"] == f"Bearer {standin.api_key}"
    assert not [value for value in headers.values() if "leaked" in value]
    assert not [name for name in headers if name.lower() in {"x-leaked", "openai-organization"}]


async def test_a_call_is_logged_with_its_cost_and_without_its_content(
    provider: OpenAIProvider,
    make_request: MakeRequest,
    standin: OpenAIStandin,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        result = await edit(provider, make_request())

    (event,) = logs
    assert event.pop("seconds") >= 0
    assert event == {
        "event": "provider_called",
        "log_level": "info",
        "provider": "openai",
        "model": "gpt-image-2",
        "upstream_id": f"req_{1:032x}",
        "usage": {
            "input_tokens": 323,
            "input_tokens_details": {"text_tokens": 17, "image_tokens": 306},
            "output_tokens": 1056,
            "total_tokens": 1379,
        },
    }
    for secret in (standin.api_key, "Make it night", result.content[:40].decode()):
        assert secret not in caplog.text


async def test_large_pictures_pass_in_both_directions(
    provider: OpenAIProvider, standin: OpenAIStandin, make_request: MakeRequest
) -> None:
    padding = bytes(range(256)) * 20_000  # 5 MB
    content = encoded("PNG") + padding  # behind the end, which is allowed on the way out
    standin.answer = with_extra_chunk(encoded("WEBP"), padding)
    options = EditOptions(output_format=ImageFormat.WEBP)
    result = await edit(provider, make_request(content, options=options))

    assert standin.calls[0].image.data == content
    assert result.content == base64.b64encode(standin.answer)
