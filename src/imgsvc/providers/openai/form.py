"""What a server with OpenAI's wire format is asked: in its own words, and nothing it cannot do."""

import asyncio
from pathlib import Path

from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.masks import mask_that_edits
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.models import Model
from imgsvc.providers.openai.config import OpenAIConfig
from imgsvc.providers.options import EditOptions


def result_format(options: EditOptions, model: Model, config: OpenAIConfig) -> ImageFormat:
    """Return the format that the result is to have."""
    if options.output_format is not None:
        return options.output_format
    return config.output_format if config.output_format in model.formats else model.formats[0]


def choices(options: EditOptions, model: Model, config: OpenAIConfig) -> dict[str, str]:
    """Return the fields that say how to edit, without those that the model does not know."""
    chosen: dict[str, str] = {}
    quality = options.quality or model.default_quality
    if quality in model.qualities:
        chosen["quality"] = quality
    if len(model.formats) > 1 and not model.any_format:
        chosen["output_format"] = result_format(options, model, config).value
    if options.size is not None:
        chosen["size"] = options.size
    if options.background is not None:
        chosen["background"] = options.background
    return chosen


async def mask_file(path: Path, model: Model, pool: ImagePool) -> bytes:
    """Return the mask at path, a PNG that is transparent where to edit, as the model wants it.

    Raises ImageError or ImageProcessDied.
    """
    if model.mask_edits == "transparent":
        return await asyncio.to_thread(path.read_bytes)
    return await pool.run(mask_that_edits, path, model.mask_edits)
