"""What the fuzzer calls: all that reads untrusted bytes, and what must hold for each.

A target raises if it finds something wrong; refusals, as callers get them, are caught here.
"""

import atexit
import contextlib
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from PIL import Image
from pydantic import ValidationError

from imaging.corpus import CORPUS
from imaging.corpus_odd import whole
from imaging.golden_pictures import PROMPTS
from imgsvc.callbacks import CallbacksConfig, check_url
from imgsvc.callbacks.protocol import parse_retry_after, planned_delay, rewrite
from imgsvc.errors import ImageError, InvalidUrl, RequestError
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import ImageLimits, check_mask, inspect
from imgsvc.imaging.intent import MAX_IGNORED, MAX_OPERATIONS, understand
from imgsvc.imaging.ops import open_image
from imgsvc.jobs.globs import Globs
from imgsvc.web.unpack import unpack
from standins.pictures import as_base64

ALL = tuple(ImageFormat)
MAX_PIXELS = 1_000_000
"""Small, so that thousands of pictures can be tried a second."""

MEMORY = 3 * 2**30
"""Address space of an image process, in bytes."""

LARGEST_SEED = 20_000
"""Bytes of the largest file of the corpus that is a seed: larger ones mutate slowly."""

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Target:
    """Something to call with any bytes, and inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


_folder = Path(tempfile.mkdtemp(prefix="imgsvc-fuzz-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)


def become_image_process() -> None:
    """Limit this process as image processes are."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with contextlib.suppress(ImportError):
        import pillow_heif  # noqa: PLC0415 - comes with the extra `heic` only

        pillow_heif.register_heif_opener()


def image(data: bytes) -> None:
    """Look at a file as the gate does, and decode what passes."""
    path = _folder / "image"
    path.write_bytes(data)
    with contextlib.suppress(ImageError):
        info = inspect(path, ALL, MAX_PIXELS)
        assert info.width * info.height * info.frames <= MAX_PIXELS
        assert open_image(path).mode in {"RGB", "RGBA"}
    with contextlib.suppress(ImageError):
        check_mask(path, None)


def body(data: bytes) -> None:
    """Take a request's body apart."""
    path = _folder / "body"
    path.write_bytes(data)
    limits = ImageLimits(max_bytes=100_000, max_pixels=MAX_PIXELS, allowed=ALL)
    with contextlib.suppress(RequestError, ImageError):  # whose statuses are from 400 to 499
        unpack(path, _folder / "picture", _folder / "mask", limits).raise_what_is_wrong()


def url(data: bytes) -> None:
    """Check a URL; one that is taken is taken in the form that it is called in, too."""
    with contextlib.suppress(InvalidUrl):
        checked = check_url(data.decode(errors="surrogateescape"))
        assert str(check_url(str(checked))) == str(checked)
        assert checked.scheme in {"http", "https"}
        assert checked.host
        assert checked.user is None
        rewrite(checked, {"example.com": "127.0.0.1:9"})


def prompt(data: bytes) -> None:
    """Read a prompt."""
    intent = understand(data.decode(errors="surrogateescape"))
    assert len(intent.operations) <= MAX_OPERATIONS
    assert len(intent.ignored) <= MAX_IGNORED
    for operation in intent.operations:
        assert str(operation)


def globs(data: bytes) -> None:
    """Compile patterns, and match a path with them: lines, of which the last is the path."""
    *patterns, path = data.decode(errors="surrogateescape").split("\n")
    with contextlib.suppress(ValueError):
        assert Globs(patterns[:50] or ["*"]).match(path) in {True, False}


def callback(data: bytes) -> None:
    """Read what a receiver answers, and what an operator writes."""
    text = data.decode("latin-1")
    seconds = parse_retry_after(text, now=NOW)
    assert seconds is None or seconds >= 0
    delay = planned_delay(0, [1.0], retry_after=seconds, random=lambda: 0.5)
    assert delay is not None
    assert 0 <= delay <= 2
    with contextlib.suppress(ValidationError, orjson.JSONDecodeError):
        CallbacksConfig.model_validate(orjson.loads(data))


def _images() -> Iterator[bytes]:
    yield from map(whole, ALL)
    made = (hostile.make() for hostile in CORPUS.values())
    yield from (data for data in made if len(data) <= LARGEST_SEED)


def _bodies() -> Iterator[bytes]:
    for data in map(whole, ALL):
        text = as_base64(data)
        yield orjson.dumps({"prompt": "x", "image_base64": text, "mask_base64": text})
    yield b'{"image_base64": "data:image/png;base64,iVBOR-_=", "keys": ["a"], "include": []}'


def _urls() -> Iterator[bytes]:
    yield from (
        b"http://example.com/a?b=c#d",
        b"https://[::ffff:127.0.0.1]:8080/",
        b"http://0x7f.1/",
        b"http://user:password@example.com",
        "http://\N{FULLWIDTH DIGIT ONE}27.0.0.1/\N{SNOWMAN}".encode(),
        "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example:443/%zz".encode(),
    )


TARGETS = {
    "image": Target(image, _images),
    "body": Target(body, _bodies),
    "url": Target(url, _urls),
    "prompt": Target(prompt, lambda: (text.encode() for text in PROMPTS.values())),
    "globs": Target(globs, lambda: (b"**/*.png\n[!a-z]?/x\na/b.png", b"[[]\n[]]\n[a-/]\n")),
    "callback": Target(
        callback,
        lambda: (
            b"120",
            b"Wed, 21 Oct 2026 07:28:00 GMT",
            b'{"allow_networks": ["10.0.0.0/8"], "schedule": [1], "rewrite": {"a:1": "b"}}',
        ),
    ),
}
