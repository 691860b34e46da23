"""How a Stable Diffusion web UI is configured."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imgsvc.imaging.formats import ImageFormat
from imgsvc.providers.base import ProviderConfig, ProviderName
from imgsvc.providers.fields import BaseUrl
from imgsvc.providers.models import Model, ResultFormat, describing
from imgsvc.secrets.fields import HeaderSecret

Checkpoint = Annotated[Model, describing(qualities=(), backgrounds=(), usd_per_image=0)]
"""It takes masks and any size, is converted to any format, and runs on one's own machine."""


class Automatic1111Config(ProviderConfig):
    """A Stable Diffusion web UI that was started with ``--api``."""

    kind: Literal["automatic1111"] = Field(
        "automatic1111",
        description="Which protocol the server speaks: AUTOMATIC1111's, as Forge and SD.Next too.",
    )
    name: ProviderName = Field(
        "automatic1111", description="What it is called in requests, results and logs."
    )
    base_url: BaseUrl = Field(description="URL of the web UI.")
    username: str | None = Field(
        None,
        pattern=r"^[!-9;-~]+$",
        description="Name of its `--api-auth`, if it was started with that.",
    )
    password: HeaderSecret | None = Field(None, description="Password that goes with the name.")
    models: list[Checkpoint] = Field(
        min_length=1,
        description="Checkpoints that a request may name, as names, or tables that say more; the"
        " first one edits where it names none.",
    )
    max_in_flight: int | None = Field(
        1, ge=1, description="Edits that may be in work there at once; others wait here."
    )
    negative_prompt: str = Field("", description="What the results shall not show.")
    denoising_strength: float = Field(
        0.75, ge=0, le=1, description="How much may change, from 0, nothing, to 1, everything."
    )
    steps: int = Field(20, ge=1, le=150, description="Sampling steps; more take longer.")
    cfg_scale: float = Field(7.0, ge=1, le=30, description="How closely the prompt is followed.")
    sampler_name: str = Field("Euler a", min_length=1, description="Sampler, by its name there.")
    max_pixels: int = Field(
        1_048_576,
        ge=65_536,
        le=16_777_216,
        description="Pixels of the results where a request names no size; larger pictures are"
        " scaled down to it.",
    )
    output_format: ResultFormat = Field(ImageFormat.PNG, description="File format of the results.")
    timeout: float = Field(
        300.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one edit may take, from upload to result.",
    )

    @model_validator(mode="after")
    def _name_and_password(self) -> "Automatic1111Config":
        if (self.username is None) is not (self.password is None):
            raise ValueError("username and password go together: set both, or none")
        return self

    @property
    def offered(self) -> Mapping[str, Model]:
        """The checkpoints by name, the one that edits where a request names none first."""
        return {model.name: model for model in self.models}
