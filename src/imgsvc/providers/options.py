"""How an edit is to be done."""

from dataclasses import dataclass

from imgsvc.imaging.formats import ImageFormat


@dataclass(frozen=True, kw_only=True, slots=True)
class EditOptions:
    """How the caller wants the edit done; None leaves the choice to the configuration."""

    model: str | None = None
    quality: str | None = None  # auto, low, medium, high, xhigh, max
    size: str | None = None  # auto or WIDTHxHEIGHT in pixels
    background: str | None = None  # transparent, opaque, auto
    output_format: ImageFormat | None = None  # PNG, JPEG or WebP
    stream_partials: int = 0  # images to stream before the result, 3 at most
    models: tuple[str, ...] | None = None  # that the caller is held to; None: all
