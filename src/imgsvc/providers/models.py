"""What the models of image APIs can do and cost: data, of models.toml and the configuration."""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from imgsvc.errors import FieldError
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.masks import MaskEdits
from imgsvc.providers.fields import matching
from imgsvc.providers.options import EditOptions

Quality = Literal["auto", "low", "medium", "high", "xhigh", "max"]
Background = Literal["auto", "opaque", "transparent"]
ResultFormat = Literal[ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP]
FixedSize = Annotated[
    str, matching(r"auto|[1-9][0-9]{1,3}x[1-9][0-9]{1,3}", "`auto` or WIDTHxHEIGHT in pixels")
]
Usd = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


ENDS_SOON = timedelta(days=30)
"""How long before a model ends the operator hears of it."""


class Price(BaseModel):
    """What a model costs, in US dollars for a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text_input: Usd
    image_input: Usd
    output: Usd


class TokenBounds(BaseModel):
    """The most tokens that are counted, for estimates before a call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: int = Field(7000, ge=0)  # a picture that is sent
    low: int = Field(410, ge=0)  # a result of 1024x1024, by quality
    medium: int = Field(1770, ge=0)
    high: int = Field(7040, ge=0)  # and of `auto`, and of those above it


class Model(BaseModel):
    """One model of one provider: what it can do, how it wants to be asked, what it costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[
        str, matching(r"[A-Za-z0-9_./:@-]{1,100}", "letters, digits and _ . / : @ -, at most 100")
    ]
    sizes: tuple[FixedSize, ...] = ()
    any_size: bool = True  # and all others: multiples of 16 whose ratio is between 1:3 and 3:1
    qualities: tuple[Quality, ...] = ("auto", "low", "medium", "high")
    backgrounds: tuple[Background, ...] = ("auto", "opaque", "transparent")
    formats: tuple[ResultFormat, ...] = Field(
        (ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP), min_length=1
    )
    any_format: bool = False  # it chooses the format of its answer itself, which is converted
    masks: bool = True
    mask_edits: MaskEdits = "transparent"
    image_field: Literal["image", "image[]"] = "image"  # the form field of the picture
    default_quality: Quality | None = None  # where a request names none; None: the provider's
    partial_images: int = Field(0, ge=0, le=3)  # how many it can stream before the result
    price: Price | None = None  # None: unknown
    usd_per_image: Usd | None = None  # for one without tokens; 0 if it costs nothing
    tokens: TokenBounds = TokenBounds()  # of one with tokens
    ends: date | None = None  # when the provider takes it away

    @property
    def has_price(self) -> bool:
        """Whether what it costs is known; one that is free has a price too."""
        return self.price is not None or self.usd_per_image is not None

    def ends_soon(self, today: date) -> bool:
        """Return whether it has ended, or will within ENDS_SOON."""
        return self.ends is not None and self.ends - today <= ENDS_SOON

    def wrong_fields(self, options: EditOptions, *, has_mask: bool) -> list[FieldError]:
        """Return what of a request this model cannot do, each with the list of what it can."""
        return list(self._wrong_fields(options, has_mask=has_mask))

    def _wrong_fields(self, options: EditOptions, *, has_mask: bool) -> Iterator[FieldError]:
        choices: list[tuple[str, str | None, tuple[str, ...]]] = [
            ("quality", options.quality, self.qualities),
            ("background", options.background, self.backgrounds),
            ("output_format", options.output_format, self.formats),
        ]
        if not self.any_size:
            choices.append(("size", options.size, self.sizes))
        for field, wanted, possible in choices:
            if wanted is not None and wanted not in possible:
                takes = ", ".join(possible) or "none: leave it out"
                yield FieldError(field=field, message=f"{self.name} takes {takes}")
        if options.background == "transparent" and options.output_format is ImageFormat.JPEG:
            yield FieldError(
                field="output_format",
                message="JPEG has no transparency: png or webp go with a transparent background",
            )
        if options.stream_partials > (most := self.partial_images):
            takes = f"{most} at most" if most else "none: leave it out"
            yield FieldError(field="stream_partials", message=f"{self.name} takes {takes}")
        if has_mask and not self.masks:
            yield FieldError(field="mask_base64", message=f"{self.name} takes no mask")


@cache
def known_models() -> Mapping[str, Model]:
    """Return the models of models.toml, by every name they go by."""
    text = resources.files(__package__).joinpath("models.toml").read_text(encoding="utf-8")
    tables: dict[str, Any] = tomllib.loads(text)
    del tables["checked"]
    models: dict[str, Model] = {}
    for name, table in tables.items():
        for each in (name, *table.pop("aliases", ())):
            models[each] = Model.model_validate({"any_size": False, **table, "name": each})
    return models


def describing(**defaults: Any) -> BeforeValidator:
    """Return what turns a model in the configuration, a table or the name alone, into a Model.

    What is not said of it is as in models.toml, or else as in `defaults`, or as Model has it.
    """

    def complete(given: object) -> object:
        table = {"name": given} if isinstance(given, str) else given
        if not isinstance(table, dict):
            return table
        known = known_models().get(str(table.get("name")))
        base = defaults if known is None else known.model_dump()
        return base | table

    return BeforeValidator(complete)
