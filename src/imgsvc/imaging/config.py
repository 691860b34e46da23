"""The settings of the image room."""

import os
from importlib.util import find_spec

from pydantic import BaseModel, ConfigDict, Field, field_validator

from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.gate import ImageLimits

HEIC_INSTALLED = find_spec("pillow_heif") is not None
"""Whether the extra ``heic`` is installed."""


def _default_allowed() -> list[ImageFormat]:
    return [f for f in ImageFormat if f is not ImageFormat.HEIC or HEIC_INSTALLED]


def _default_processes() -> int:
    return min(8, len(os.sched_getaffinity(0)))


class ImagesConfig(BaseModel):
    """What pictures are taken, and what working on one may cost."""

    model_config = ConfigDict(extra="forbid")

    max_bytes: int = Field(
        default=25 * 1024**2, gt=0, description="Largest image file that is taken, in bytes."
    )
    max_pixels: int = Field(
        default=50_000_000,
        gt=0,
        description="Most pixels a picture may have: width times height times frames.",
    )
    allowed: list[ImageFormat] = Field(
        default_factory=_default_allowed,
        min_length=1,
        description="File formats that are taken; heic needs the extra of that name.",
    )
    processes: int = Field(
        default_factory=_default_processes,
        gt=0,
        description="Processes that edit pictures; by default one a CPU, at most 8.",
    )
    task_timeout: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="Seconds one task on one picture may take; then its process is ended.",
    )
    max_memory_bytes: int = Field(
        default=3 * 1024**3,
        ge=512 * 1024**2,
        description=(
            "Address space of one image process, in bytes. Inverting 50 million pixels with"
            " transparency takes up to 0.9 GB for a PNG result and 1.4 GB for WebP."
        ),
    )

    @property
    def limits(self) -> ImageLimits:
        """The part that image processes need; they do without pydantic."""
        return ImageLimits(
            max_bytes=self.max_bytes, max_pixels=self.max_pixels, allowed=tuple(self.allowed)
        )

    @field_validator("allowed")
    @classmethod
    def _heic_is_installed(cls, allowed: list[ImageFormat]) -> list[ImageFormat]:
        if ImageFormat.HEIC in allowed and not HEIC_INSTALLED:
            raise ValueError("heic needs the extra `heic`: pip install 'imgsvc[heic]'")
        return allowed
