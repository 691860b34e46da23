"""The local engine: no network, no cost, and a watermark that says so."""

from imgsvc.imaging import ops
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.base import EditRequest


class LocalProvider:
    """Inverts the colours and writes on the picture why no image API has edited it."""

    name = "local"

    def __init__(self, pool: ImagePool) -> None:
        self._pool = pool

    async def edit(self, request: EditRequest, reason: str) -> EncodedImage:
        """Return the picture inverted and captioned with reason, an error code.

        Raises ImageError or ImageProcessDied.
        """
        output_format = request.options.output_format or ImageFormat.PNG
        content = await self._pool.run(
            ops.invert_with_caption,
            request.image,
            f"DEMO - FALLBACK ({reason})",
            output_format,
        )
        return EncodedImage(format=output_format, content=content)
