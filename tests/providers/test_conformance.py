"""What every kind of provider does alike; a new kind joins KINDS and has to pass."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from pydantic import SecretStr
from structlog.testing import capture_logs

from imgsvc import errors
from imgsvc.errors import ProviderError
from imgsvc.imaging.formats import ImageFormat, sniff
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import EditOptions, EditRequest, open_provider
from providers.desks import edit
from providers.kinds import AUTOMATIC1111, HUGGINGFACE, KINDS, Kind, Subject, opened
from providers.pictures import encoded, with_extra_chunk

pytestmark = pytest.mark.asyncio(loop_scope="session")

MakeRequest = Callable[..., EditRequest]
RED, WHITE = (255, 0, 0), (255, 255, 255)
TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def subject(kind: Kind, pool: ImagePool) -> AsyncIterator[Subject]:
    async with kind.subject(pool) as subject:
        yield subject


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    """Tell whether a pixel has this colour, but for what JPEG does to it."""
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 40 for a, b in zip(pixel[:3], colour, strict=True))


@pytest.mark.parametrize("wanted", [ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP])
async def test_the_edited_picture_comes_in_the_format_asked_for(
    subject: Subject, wanted: ImageFormat, make_request: MakeRequest
) -> None:
    async with subject.open() as provider:
        result = await edit(provider, make_request(options=EditOptions(output_format=wanted)))

    content = await result.to_bytes()
    assert result.format is sniff(content) is wanted
    image = opened(content).convert("RGB")
    assert near(image.getpixel((2, 2)), WHITE)  # mirrored
    assert near(image.getpixel((image.width - 3, 2)), RED)


async def test_without_a_format_it_is_the_configured_one(
    subject: Subject, make_request: MakeRequest
) -> None:
    async with subject.open(output_format=ImageFormat.JPEG) as provider:
        assert (await edit(provider, make_request())).format is ImageFormat.JPEG


async def test_a_result_has_the_size_asked_for(
    kind: Kind, subject: Subject, make_request: MakeRequest
) -> None:
    async with subject.open() as provider:
        for size, expected in kind.sizes.items():
            result = await edit(provider, make_request(options=EditOptions(size=size)))
            assert opened(await result.to_bytes()).size == expected


async def test_the_mask_says_to_the_server_what_to_edit(
    kind: Kind, subject: Subject, make_request: MakeRequest, tmp_path: Path
) -> None:
    if kind.to_edit is None:
        assert not any(model.masks for model in subject.config.offered.values())
        return
    mask = Image.new("RGBA", (48, 32), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 24, 32))  # transparent on the left
    mask.save(tmp_path / "mask", "PNG")
    async with subject.open() as provider:
        await edit(provider, make_request(mask=tmp_path / "mask"))

    ((picture, sent),) = subject.sent()
    assert sent is not None
    seen = kind.to_edit(opened(sent)).convert("L")
    assert seen.size == opened(picture).size
    assert seen.getpixel((2, 2)) == 255
    assert seen.getpixel((seen.width - 3, 2)) == 0


@pytest.mark.parametrize(
    ("content", "portrait"),
    [
        (encoded("JPEG", exif=TURNED), True),
        (encoded("JPEG", "CMYK"), False),
        (encoded("PNG", "P"), False),
        (encoded("TIFF"), False),
        (encoded("PNG", "RGBA"), False),
    ],
    ids=["turned", "cmyk", "palette", "tiff", "transparent"],
)
async def test_the_picture_arrives_as_it_is_meant_to_be_seen(
    content: bytes, portrait: bool, subject: Subject, make_request: MakeRequest
) -> None:
    async with subject.open() as provider:
        await edit(provider, make_request(content))

    ((picture, _),) = subject.sent()
    image = opened(picture)
    assert image.getexif().get(0x0112, 1) == 1
    assert (image.height > image.width) is portrait
    assert image.mode in {"RGB", "RGBA"}
    # Red was on the left; turned clockwise, it is at the top.
    assert near(image.getpixel((2, 2)), RED)
    assert near(image.getpixel((image.width - 3, image.height - 3)), WHITE)


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [(kind, name, error) for kind in KINDS for name, error in kind.failures.items()],
    indirect=["kind"],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
async def test_every_failure_is_told_apart_after_one_call_and_keeps_the_secret(
    name: str,
    expected: type[ProviderError],
    subject: Subject,
    make_request: MakeRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    subject.standin.fail_always(name)
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        async with subject.open() as provider:
            with pytest.raises(ProviderError) as caught:
                await edit(provider, make_request())

    assert type(caught.value) is expected
    assert len(subject.sent()) == 1
    told = f"{caught.value!r} {caught.value.__cause__!r} {logs} {caplog.text}"
    for secret in (subject.secret, "Make it night", "out of memory"):
        assert secret not in told
        assert base64.b64encode(secret.encode()).decode()[:-4] not in told


@pytest.mark.parametrize("kind", [AUTOMATIC1111, HUGGINGFACE], indirect=True, ids=str)
async def test_a_picture_that_is_too_large_for_the_server_is_told_so(
    subject: Subject, make_request: MakeRequest
) -> None:
    subject.standin.fail_always("too_large")
    async with subject.open() as provider:
        with pytest.raises(errors.ProviderRefusedImage, match=r"too large .* status 413\)$"):
            await edit(provider, make_request())


async def test_a_rate_limit_passes_on_how_long_to_wait(
    kind: Kind, subject: Subject, make_request: MakeRequest
) -> None:
    (name,) = (n for n, error in kind.failures.items() if error is errors.ProviderRateLimited)
    subject.standin.fail_always(name)
    async with subject.open() as provider:
        with pytest.raises(errors.ProviderRateLimited) as caught:
            await edit(provider, make_request())
    assert caught.value.retry_after == 12.0


async def test_a_wrong_secret_is_rejected_and_not_repeated_in_the_error(
    subject: Subject, make_request: MakeRequest
) -> None:
    key = "password" if "password" in type(subject.config).model_fields else "api_key"
    data = subject.config.model_dump() | {key: "a-wrong-secret"}
    wrong = type(subject.config).model_validate(data)
    async with subject.open(**{key: getattr(wrong, key)}) as provider:
        with pytest.raises(errors.ProviderKeyRejected) as caught:
            await edit(provider, make_request())
        with pytest.raises(errors.ProviderKeyRejected):
            await provider.probe()
    assert "a-wrong-secret" not in caught.value.message


async def test_a_secret_that_is_replaced_is_used_from_the_next_call_on(
    subject: Subject, make_request: MakeRequest
) -> None:
    key = "password" if "password" in type(subject.config).model_fields else "api_key"
    config, right = subject.config, getattr(subject.config, key)
    async with open_provider(config, subject.pool) as provider:
        for secret, works in ((right, True), (SecretStr("a-wrong-secret"), False), (right, True)):
            setattr(config, key, secret)
            with nullcontext() if works else pytest.raises(errors.ProviderKeyRejected):
                await edit(provider, make_request())


async def test_a_server_that_does_not_answer_ends_at_the_deadline(
    subject: Subject, make_request: MakeRequest
) -> None:
    subject.standin.fail_always("hang")
    async with subject.open(timeout=0.3) as provider:
        with pytest.raises(errors.ProviderTimeout):
            await edit(provider, make_request())
    await subject.standin.given_up.wait()


async def test_a_cancelled_edit_is_cancelled_and_leaves_no_connection(
    subject: Subject, make_request: MakeRequest
) -> None:
    subject.standin.fail_always("hang")
    async with subject.open() as provider:
        task = asyncio.create_task(edit(provider, make_request()), name="edit")
        await subject.standin.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await subject.standin.given_up.wait()


async def test_a_server_that_is_not_there_is_unreachable(
    kind: Kind, pool: ImagePool, make_request: MakeRequest
) -> None:
    async with kind.subject(pool) as gone:
        pass
    async with gone.open() as provider:
        with pytest.raises(errors.ProviderUnreachable):
            await edit(provider, make_request())
        with pytest.raises(errors.ProviderUnreachable):
            await provider.probe()


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    kind: Kind, subject: Subject, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind.limit, 50_000)
    subject.standin.answer = with_extra_chunk(encoded("PNG"), bytes(60_000))
    async with subject.open() as provider:
        with pytest.raises(errors.ProviderBadAnswer, match="too large"):
            await edit(provider, make_request())


async def test_a_large_answer_passes_as_it_is(subject: Subject, make_request: MakeRequest) -> None:
    subject.standin.answer = with_extra_chunk(encoded("PNG"), bytes(range(256)) * 20_000)  # 5 MB
    async with subject.open() as provider:
        result = await edit(provider, make_request())
    assert await result.to_bytes() == subject.standin.answer


async def test_a_picture_in_another_format_is_converted_or_refused(
    kind: Kind, subject: Subject, make_request: MakeRequest
) -> None:
    subject.standin.answer = encoded("GIF")
    async with subject.open() as provider:
        if kind.any_format:
            result = await edit(provider, make_request())
            assert sniff(await result.to_bytes()) is result.format is ImageFormat.PNG
        else:
            with pytest.raises(errors.ProviderBadAnswer):
                await edit(provider, make_request())


async def test_a_damaged_picture_is_a_bad_answer(
    subject: Subject, make_request: MakeRequest
) -> None:
    subject.standin.answer = encoded("PNG")[:60]
    async with subject.open() as provider:
        with pytest.raises(errors.ProviderBadAnswer):
            await edit(provider, make_request())


async def test_the_environment_adds_nothing_to_a_call(
    subject: Subject, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_leaked")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-leaked")
    async with subject.open() as provider:
        await edit(provider, make_request())
    assert "leaked" not in str(subject.standin.calls[0].headers)


async def test_a_probe_finds_a_server_that_works_and_edits_nothing(subject: Subject) -> None:
    async with subject.open() as provider:
        await provider.probe()
    assert subject.sent() == []


async def test_several_pictures_are_edited_at_once(
    subject: Subject, make_request: MakeRequest
) -> None:
    async with subject.open() as provider:
        results = await asyncio.gather(*(edit(provider, make_request()) for _ in range(4)))
    assert len({await result.to_bytes() for result in results}) == 1
    assert len(subject.sent()) == 4
