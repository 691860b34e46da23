"""Servers that speak nearly as OpenAI does, as far as they differ.

Sources: the SDK's ``lib/azure.py``, stable-diffusion.cpp's ``routes_openai.cpp``, SGLang's
``openai/image_api.py``, vLLM-Omni's ``image_edit_api.md``.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image, ImageChops, ImageOps

from standins.openai_wire import MODELS, PARAMETERS


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a server differs from OpenAI's."""

    base: str = "/v1"  # how its base URL ends
    edits: str = "/v1/images/edits"
    models: str = "/v1/models"
    lists_only: bool = False  # it has the list of its models and tells of none by name
    offered: tuple[str, ...] = MODELS
    listed: tuple[str, ...] = ()  # in the list of its models, if these are others
    header: str = "Authorization"
    key_prefix: str = "Bearer "
    query: Mapping[str, str] = field(default_factory=dict)
    image_fields: tuple[str, ...] = ("image", "image[]")
    parameters: tuple[str, ...] = PARAMETERS
    formats: tuple[str, ...] = ("png", "jpeg", "webp")
    only_format: str | None = None  # whatever it was asked for
    mask_edits: str = "transparent"
    usage: bool = True


OPENAI = Dialect()
AZURE = Dialect(
    base="",
    edits="/openai/deployments/{model}/images/edits",
    models="/openai/models",
    lists_only=True,
    listed=MODELS,  # it tells what could be deployed, not what is
    header="api-key",
    key_prefix="",
    query={"api-version": "2025-04-01-preview"},
)
AZURE_V1 = Dialect(base="/openai/v1", edits="/openai/v1/images/edits", models="/openai/v1/models")
VLLM_OMNI = Dialect(
    offered=("Qwen/Qwen-Image-Edit-2511",),
    lists_only=True,
    parameters=("image", "prompt", "model", "n", "size", "output_format", "background"),
    usage=False,
)
SGLANG = Dialect(
    offered=("black-forest-labs/FLUX.2-klein-4B",),
    parameters=("image", "prompt", "model", "n", "size", "output_format", "background"),
    usage=False,
)
STABLE_DIFFUSION_CPP = Dialect(
    offered=("sd-cpp-local",),
    lists_only=True,
    image_fields=("image[]",),
    parameters=("image", "mask", "prompt", "model", "n", "size", "output_format"),
    formats=("png", "jpeg"),
    mask_edits="white",
    usage=False,
)
ONE_FORMAT = Dialect(
    only_format="png",
    parameters=("image", "prompt", "model", "n"),
    offered=("gemini-image",),
)
"""A gateway to a server that chooses the format itself, and knows hardly a field."""


def invert_masked(data: bytes, mask: bytes, edits: str, output_format: str) -> bytes:
    """Return the picture with its colours inverted where the mask says that it may change."""
    with Image.open(io.BytesIO(data)) as image, Image.open(io.BytesIO(mask)) as given:
        picture = image.convert("RGB")
        # Without alpha, a decoder of one channel sees the brightness alone.
        part = given.convert("L") if edits == "white" else given.getchannel("A")
    if edits == "transparent":
        part = ImageChops.invert(part)
    picture.paste(ImageOps.invert(picture), mask=part)
    out = io.BytesIO()
    picture.save(out, output_format)
    return out.getvalue()
