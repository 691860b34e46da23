"""Pictures of servers that choose the file format themselves, as callers asked for them."""

import pybase64

from imgsvc.errors import ImageError, ImgsvcError, ProviderBadAnswer
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.exchange import convert
from imgsvc.imaging.formats import SNIFF_BYTES, TAIL_BYTES, ImageFormat, is_whole, sniff
from imgsvc.imaging.handing import held_as_file
from imgsvc.imaging.pool import ImagePool

# Base64 of at least that many bytes, in whole groups of four characters
_HEAD_CHARACTERS = -(-SNIFF_BYTES // 3) * 4
_TAIL_CHARACTERS = (-(-TAIL_BYTES // 3) + 1) * 4


async def finished(
    content: bytes, wanted: ImageFormat, pool: ImagePool, *, is_base64: bool = False
) -> EncodedImage:
    """Return a server's picture in the format wanted: as it is, or converted.

    `content` is the file or, with is_base64, standard, padded base64 of it. Raises
    ProviderBadAnswer if it is no picture, or one that is damaged; ImageProcessDied. The
    server has done its work by now: what goes wrong in here is marked as `after_answer`.
    """
    found = format_of(content, is_base64=is_base64)
    image = EncodedImage(format=found, content=content, is_base64=is_base64)
    if found is wanted:
        return image
    try:
        async with held_as_file(await image.to_bytes()) as file:
            converted = await pool.run(convert, file, wanted)
    except ImageError as exc:
        raise ProviderBadAnswer(
            f"The image API answered with a {found} file that cannot be read."
        ) from exc
    except ImgsvcError as exc:
        exc.after_answer = True
        raise
    return EncodedImage(format=wanted, content=converted)


def format_of(content: bytes, *, is_base64: bool) -> ImageFormat:
    """Return a picture's format by its beginning and end; only these are decoded.

    Raises ProviderBadAnswer if it is no picture, or a PNG, JPEG or WebP file cut short.
    """
    if is_base64:
        head = pybase64.b64decode(content[:_HEAD_CHARACTERS])
        tail = pybase64.b64decode(content[-_TAIL_CHARACTERS:])
        size = len(content) // 4 * 3 - content.count(b"=", -2)
    else:
        head, tail, size = content[:SNIFF_BYTES], content[-TAIL_BYTES:], len(content)
    found = sniff(head)
    if found is None:
        raise ProviderBadAnswer("The image API answered with something that is no image.")
    checkable = found in {ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP}
    if checkable and not is_whole(head, tail, size, found):
        raise ProviderBadAnswer(
            f"The image API answered with a {found} file that is damaged or cut short."
        )
    return found
