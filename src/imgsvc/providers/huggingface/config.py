"""How models on Hugging Face are configured."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import Field, field_validator

from imgsvc.imaging.formats import ImageFormat
from imgsvc.providers.base import ProviderConfig, ProviderName
from imgsvc.providers.fields import BaseUrl
from imgsvc.providers.models import Model, ResultFormat, describing
from imgsvc.secrets.fields import HeaderSecret

INSTALLED = find_spec("huggingface_hub") is not None
"""Whether the extra ``huggingface`` is installed."""

InferenceProvider = Literal["auto", "fal-ai", "hf-inference", "replicate", "together", "wavespeed"]
"""Those that huggingface_hub can ask to edit pictures."""

HuggingFaceModel = Annotated[
    Model, describing(any_size=False, qualities=(), backgrounds=(), masks=False)
]
"""The task image-to-image knows no mask; many a model leaves the size that it is asked for out."""


class HuggingFaceConfig(ProviderConfig):
    """Models on Hugging Face: by an inference provider, or an endpoint of one's own."""

    kind: Literal["huggingface"] = Field(
        "huggingface",
        description="Which protocol is spoken: Hugging Face's; needs the extra of that name.",
    )
    name: ProviderName = Field(
        "huggingface", description="What it is called in requests, results and logs."
    )
    api_key: HeaderSecret = Field(
        description="Token of Hugging Face (`hf_...`), or key of the inference provider itself; any"
        " word for an endpoint that asks for none."
    )
    base_url: BaseUrl | None = Field(
        None,
        description="URL of an endpoint that edits by one model. Unset: `inference_provider` does.",
    )
    inference_provider: InferenceProvider = Field(
        "auto",
        description="Who runs the models: `auto` takes the first one that the model has, in the"
        " order of the account's settings.",
    )
    models: list[HuggingFaceModel] = Field(
        min_length=1,
        description="Models that a request may name, as on the Hub, or tables that say more; the"
        " first one edits where it names none.",
    )
    max_pixels: int = Field(
        1_048_576,
        ge=65_536,
        le=16_777_216,
        description="Pixels of the pictures that are sent; larger ones are scaled down to it.",
    )
    output_format: ResultFormat = Field(ImageFormat.PNG, description="File format of the results.")
    timeout: float = Field(
        300.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one edit may take, from upload to result.",
    )

    @field_validator("kind")
    @classmethod
    def _is_installed(cls, kind: str) -> str:
        if not INSTALLED:
            raise ValueError("needs the extra `huggingface`: pip install 'imgsvc[huggingface]'")
        return kind

    @property
    def offered(self) -> Mapping[str, Model]:
        """The models by name, the one that edits where a request names none first."""
        return {model.name: model for model in self.models}
