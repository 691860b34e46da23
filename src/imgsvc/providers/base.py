"""What every provider of edits offers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.gate import ImageInfo
from imgsvc.providers.fields import matching
from imgsvc.providers.limiter import Limits
from imgsvc.providers.models import Model
from imgsvc.providers.options import EditOptions

LOCAL = "local"
"""The local engine: the word that names it as ``model``, and as ``provider``."""


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
class Usage:
    """What a provider counted for one call, in tokens."""

    text_tokens: int = 0  # of the prompt
    image_tokens: int = 0  # of the pictures sent
    output_tokens: int = 0  # of the picture made


@dataclass(frozen=True, kw_only=True, slots=True)
class Edited:
    """What one call of a provider gave."""

    image: EncodedImage
    usage: Usage | None = None  # None: the provider tells none


@dataclass(frozen=True, kw_only=True, slots=True)
class EditResult:
    """An edited picture and who made it."""

    image: EncodedImage
    provider: str
    model: str | None = None  # None: the local engine has none
    fallback_reason: str | None = None  # an error code; set only if another one stepped in
    operations: tuple[str, ...] = ()  # what the local engine did, in order: `rotate 90`
    ignored: tuple[str, ...] = ()  # words of the prompt that it did not understand


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderCall:
    """One question to an image API that has ended, for the job's story and its account."""

    provider: str
    model: str
    seconds: float
    waited: float = 0.0  # seconds before it, for its turn
    error: str | None = None  # the code of what went wrong
    usage: Usage | None = None  # None: no picture, or the provider tells none
    cost: int | None = None  # nano-dollars; None: unknown, it may have been billed
    categories: tuple[str, ...] = ()  # what moderation objected to


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderRetry:
    """A question that will be asked again, for the job's story."""

    provider: str
    error: str  # the code of why
    wait: float  # seconds until then


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialImage:
    """A picture that is not finished yet, as an image API shows it meanwhile."""

    index: int  # from 0, in each call
    read: Callable[[], bytes]  # returns the image file, or raises ProviderError; for a thread


class Observer(Protocol):
    """Is told what happens to one picture; must return at once."""

    def provider_called(self, call: ProviderCall) -> None:
        """Take note of a call that has ended, in whatever way."""
        ...

    def provider_retry(self, retry: ProviderRetry) -> None:
        """Take note of a wait that begins."""
        ...

    def partial_image(self, partial: PartialImage) -> None:
        """Take note of what the call that is under way has made so far."""
        ...


class Reservation(Protocol):
    """Money that is set aside for one call."""

    def settle(self, call: ProviderCall) -> None:
        """Put what the call has cost in its place; must return at once.

        If that is unknown, the money stays set aside.
        """
        ...

    def cancel(self) -> None:
        """Give the money back, because the call is not made; must return at once."""
        ...


class Account(Protocol):
    """Pays for the calls that are made for one picture."""

    async def reserve(self, provider: str, model: str, estimate: int | None) -> Reservation:
        """Set money aside for one call, which is made next.

        `estimate` is in nano-dollars; None: the price is not known. Raises BudgetSpent,
        and then there is no call.
        """
        ...


def _not_local(name: str) -> str:
    if name == LOCAL:
        raise ValueError("is the name of the local engine: choose another one")
    return name


NAME_PATTERN = r"[a-z][a-z0-9_]{0,31}"

ProviderName = Annotated[
    str,
    matching(NAME_PATTERN, "small letters, digits and _, a letter first, at most 32"),
    AfterValidator(_not_local),
]


class ProviderConfig(BaseModel):
    """What is configured of every image API."""

    model_config = ConfigDict(extra="forbid")

    name: ProviderName
    requests_per_minute: int | None = Field(
        None,
        ge=1,
        le=60_000,
        description="Edits that may begin within 60 seconds, as the account allows; others wait."
        " Unset: any number.",
    )
    max_in_flight: int | None = Field(
        None,
        ge=1,
        description="Edits that may be in work at the API at once; others wait. Unset: any number.",
    )

    @field_validator("models", check_fields=False)
    @classmethod
    def _each_model_once(cls, models: list[Model]) -> list[Model]:
        names = [model.name for model in models]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice} is there twice")
        return models

    @property
    def limits(self) -> Limits:
        """How fast, and how many at once, it may be asked."""
        return Limits(
            requests_per_minute=self.requests_per_minute, max_in_flight=self.max_in_flight
        )


class Provider(Protocol):
    """Edits one picture at a time; safe to call from many tasks at once."""

    @property
    def name(self) -> str:
        """The word reported as ``provider`` in callbacks."""
        ...

    @property
    def models(self) -> Mapping[str, Model]:
        """What it offers, by name; the first one edits where none is named."""
        ...

    async def edit(self, request: EditRequest, model: Model, observer: Observer) -> Edited:
        """Return the edited picture; ask for it once.

        The observer is told of partial images, as many as are asked for and the model makes.
        Raises ProviderError, ImageError or ImageProcessDied; those that come once the API has
        answered are marked as `after_answer`.
        """
        ...

    async def probe(self) -> None:
        """Ask, free of charge, whether it would edit: network, key and models.

        Raises ProviderError.
        """
        ...
