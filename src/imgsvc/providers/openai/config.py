"""How an image API of OpenAI's kind is configured."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from imgsvc.imaging.formats import ImageFormat
from imgsvc.providers.base import ProviderConfig, ProviderName
from imgsvc.providers.fields import BaseUrl
from imgsvc.providers.models import Model, Quality, ResultFormat, describing, known_models
from imgsvc.secrets.fields import HeaderSecret


def _blank_is_unset(value: object) -> object:
    """Strip a text; an empty one, as in ``OPENAI_BASE_URL=``, is as good as none."""
    return (value.strip() or None) if isinstance(value, str) else value


def _live_models() -> list[Model]:
    today = datetime.now(UTC).date()
    return [m for m in known_models().values() if m.ends is None or m.ends > today]


class OpenAIConfig(ProviderConfig):
    """The image API that edits the pictures: OpenAI, or a server with the same wire format."""

    kind: Literal["openai"] = Field("openai", description="Which protocol the server speaks.")
    name: ProviderName = Field(
        "openai", description="What it is called in requests, results and logs."
    )
    api_key: Annotated[HeaderSecret | None, BeforeValidator(_blank_is_unset)] = Field(
        None, description="Key of the image API. Without one it is not asked."
    )
    base_url: Annotated[BaseUrl | None, BeforeValidator(_blank_is_unset)] = Field(
        None, description="URL of a compatible server, up to its `/v1`. Unset: OpenAI itself."
    )
    api_version: str | None = Field(
        None,
        pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}(-preview)?$",
        description="Version of Azure OpenAI's API, if it has one in its URL; `base_url` then ends"
        " before `/openai`.",
    )
    model: str = Field(
        "gpt-image-2", min_length=1, description="Model that edits where a request names none."
    )
    models: list[Annotated[Model, describing()]] = Field(
        default_factory=list,
        description="Models that a request may name besides it: names, or tables that say more."
        " Unset: with a `base_url` none.",
    )
    quality: Quality = Field(
        "medium", description="Quality of the results; higher is slower and costs more."
    )
    output_format: ResultFormat = Field(ImageFormat.PNG, description="File format of the results.")
    timeout: float = Field(
        300.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one edit may take, from upload to result.",
    )

    @field_validator("base_url")
    @classmethod
    def _goes_with_a_key(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is not None and info.data.get("api_key", "") is None:
            raise ValueError(
                "is set without a key: set OPENAI_API_KEY too, to any word for a server"
                " that asks for none"
            )
        return url

    @field_validator("api_version")
    @classmethod
    def _goes_with_a_resource(cls, version: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("base_url", "")
        if version is not None and (url is None or "/openai" in url):
            raise ValueError(
                "goes with a base_url that ends before /openai: https://NAME.openai.azure.com"
            )
        return version

    @property
    def is_azure(self) -> bool:
        """Whether models are deployments with names of their own."""
        host = urlsplit(self.base_url or "").hostname or ""
        return self.api_version is not None or host.endswith(".azure.com")

    @model_validator(mode="after")
    def _first_is_default(self) -> "OpenAIConfig":
        if "models" not in self.model_fields_set and self.base_url is None:
            self.models = _live_models()  # what another server has is not known
        if "model" not in self.model_fields_set and self.models:
            self.model = self.models[0].name
        return self

    @property
    def offered(self) -> Mapping[str, Model]:
        """The models by name, the one that edits where a request names none first."""
        described = {model.name: model for model in self.models}
        first = described.get(self.model) or known_models().get(self.model)
        offered = {self.model: first or Model(name=self.model)} | described
        quality = {"default_quality": self.quality}
        return {
            name: model if model.default_quality else model.model_copy(update=quality)
            for name, model in offered.items()
        }


class OpenAIEntry(OpenAIConfig):
    """One of several image APIs: it is there to be asked, so it has a key."""

    api_key: HeaderSecret = Field(
        description="Key of the image API; any word for a server that asks for none."
    )
