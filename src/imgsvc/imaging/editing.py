"""Edits by the local engine, from the prompt to the encoded result; for image processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from PIL import Image

from imgsvc.errors import ImageTooLarge, InstructionNotUnderstood
from imgsvc.imaging.caption import draw_caption
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.intent import KNOWN, shortened, understand
from imgsvc.imaging.operations import Convert, Operation, Resize, Size, Thumbnail
from imgsvc.imaging.ops import encode, invert_with_caption, open_image, open_scaled


class Unknown(StrEnum):
    """What becomes of a prompt in which nothing is understood."""

    DEMO = "demo"  # the colours are inverted, with a caption that says so
    REFUSE = "refuse"  # InstructionNotUnderstood


@dataclass(frozen=True, kw_only=True, slots=True)
class EditedLocally:
    """A result of the local engine."""

    content: bytes  # the image file
    format: ImageFormat
    operations: tuple[str, ...]  # short forms, in order; none for the demo
    ignored: tuple[str, ...]  # words of the prompt


def edit_by_prompt(
    path: Path,
    prompt: str,
    output_format: ImageFormat | None,
    *,
    reason: str | None,
    unknown: Unknown,
    watermark: bool,
) -> EditedLocally:
    """Do to the image file at path what is understood of the prompt.

    output_format has precedence over a format that the prompt asks for; without either
    the result is a PNG. reason is the code of the error for which the local engine steps
    in; it is written on the result if watermark is set, and on every demo. Without a
    reason only a demo is written on. Raises InstructionNotUnderstood, ImageTooLarge (also if the
    prompt asks for too large a picture), or what open_image raises.
    """
    intent = understand(prompt)
    if not intent.operations:
        if unknown is Unknown.REFUSE:
            stepped_in = f"No image API edited the picture ({reason}), and t" if reason else "T"
            raise InstructionNotUnderstood(
                f"{stepped_in}he local engine found nothing in the prompt that it can do."
                f" It knows: {KNOWN}."
            )
        output_format = output_format or ImageFormat.PNG
        return EditedLocally(
            content=invert_with_caption(path, _caption(reason), output_format),
            format=output_format,
            operations=(),
            ignored=intent.ignored,
        )
    operations, ignored = _settle(intent.operations, output_format)
    formats = [each.format for each in operations if isinstance(each, Convert)]
    output_format = output_format or (formats[-1] if formats else ImageFormat.PNG)
    image = apply(path, operations)
    if watermark and reason is not None:
        image = draw_caption(image, _caption(reason))
    return EditedLocally(
        content=encode(image, output_format),
        format=output_format,
        operations=tuple(map(str, operations)),
        ignored=shortened([*intent.ignored, *ignored]),
    )


def _caption(reason: str | None) -> str:
    return "DEMO - NOT UNDERSTOOD" if reason is None else f"DEMO - FALLBACK ({reason})"


def apply(path: Path, operations: Sequence[Operation]) -> Image.Image:
    """Return the image file at path after the operations, decoded once.

    Raises ImageTooLarge as soon as a result would have more pixels than a picture that
    comes in may have, or what open_image raises.
    """
    first, rest = operations[:1], operations[1:]
    if first and isinstance(first[0], Resize | Thumbnail):
        scale = first[0]
        image = open_scaled(path, lambda size: _checked(scale.size_after(size)))
    else:
        image, rest = open_image(path), operations
    for operation in rest:
        _checked(operation.size_after(image.size))
        image = operation.apply(image)
    return image


def _settle(
    operations: Sequence[Operation], output_format: ImageFormat | None
) -> tuple[list[Operation], list[str]]:
    """Return the operations to do, and those that the caller's output_format overrules."""
    overruled = [
        each
        for each in operations
        if isinstance(each, Convert) and output_format not in {None, each.format}
    ]
    return [each for each in operations if each not in overruled], [str(each) for each in overruled]


def _checked(size: Size) -> Size:
    """Return size, or raise ImageTooLarge if it has more pixels than may come in."""
    limit = Image.MAX_IMAGE_PIXELS  # each image process sets it to `images.max_pixels`
    if limit is not None and size[0] * size[1] > limit:
        raise ImageTooLarge(
            f"The prompt asks for a picture of {size[0]:,} x {size[1]:,} pixels; at most"
            f" {limit:,} are made. Ask for a smaller one."
        )
    return size
