"""What every provider of edits offers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import ImageInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class EditOptions:
    """How the caller wants the edit done; None leaves the choice to the configuration."""

    model: str | None = None
    quality: str | None = None  # low, medium, high, auto
    size: str | None = None  # auto or WIDTHxHEIGHT in pixels
    background: str | None = None  # transparent, opaque, auto
    output_format: ImageFormat | None = None  # PNG, JPEG or WebP


@dataclass(frozen=True, kw_only=True, slots=True)
class EditRequest:
    """One picture to edit.

    The picture is a file on local disk that has passed the gate: providers read it
    when they need it, so what waits does not sit in memory.
    """

    prompt: str
    image: Path
    info: ImageInfo
    filename: str | None = None  # as the caller named it
    mask: Path | None = None  # PNG, same width and height, alpha 0 where to edit
    options: EditOptions = field(default_factory=EditOptions)


@dataclass(frozen=True, kw_only=True, slots=True)
class EditResult:
    """An edited picture and who made it."""

    image: EncodedImage
    provider: str
    fallback_reason: str | None = None  # an error code; set only if another one stepped in
    operations: tuple[str, ...] = ()  # what the local engine did, in order: `rotate 90`
    ignored: tuple[str, ...] = ()  # words of the prompt that it did not understand


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderCall:
    """One question to an image API that has ended, for the job's story."""

    provider: str
    seconds: float
    error: str | None = None  # the code of what went wrong
    cost_unknown: bool = False  # it may have been billed although it gave no picture


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderRetry:
    """A question that will be asked again, for the job's story."""

    provider: str
    error: str  # the code of why
    wait: float  # seconds until then


class Observer(Protocol):
    """Is told what the router does for one picture; must return at once."""

    def provider_called(self, call: ProviderCall) -> None:
        """Take note of a call that has ended, in whatever way."""
        ...

    def provider_retry(self, retry: ProviderRetry) -> None:
        """Take note of a wait that begins."""
        ...


class Provider(Protocol):
    """Edits one picture at a time; safe to call from many tasks at once."""

    @property
    def name(self) -> str:
        """The word reported as ``provider`` in callbacks."""
        ...

    def model(self, options: EditOptions) -> str:
        """Return the model that edits with these options."""
        ...

    async def edit(self, request: EditRequest) -> EncodedImage:
        """Return the edited picture; ask for it once.

        Raises ProviderError, ImageError or ImageProcessDied.
        """
        ...
