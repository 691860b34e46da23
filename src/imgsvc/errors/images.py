"""The picture itself is the problem."""

from imgsvc.errors.base import ImgsvcError


class ImageError(ImgsvcError):
    """The image cannot be used."""

    status = 422
    code = "image_error"
    title = "Image cannot be used"


class NotAnImage(ImageError):
    """The data is not an image. Send a PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF file."""

    code = "not_an_image"
    title = "Not an image"


class UnsupportedImageType(ImageError):
    """Images of this type are not taken. Send a PNG, JPEG or WebP file."""

    status = 415
    code = "unsupported_image_type"
    title = "Image type not supported"


class ImageFileTooLarge(ImageError):
    """The image file has too many bytes. Send a smaller one."""

    status = 413
    code = "image_file_too_large"
    title = "Image file too large"


class ImageTooLarge(ImageError):
    """The image has too many pixels. Scale it down."""

    code = "image_too_large"
    title = "Image too large"


class ImageTooComplex(ImageError):
    """Decoding the image took more time or memory than allowed. Save it anew, smaller."""

    code = "image_too_complex"
    title = "Image too complex"


class CorruptImage(ImageError):
    """The image is damaged or cut short. Save it anew and send it again."""

    code = "corrupt_image"
    title = "Image damaged"


class InvalidMask(ImageError):
    """The mask must be a PNG below 4 MB with an alpha channel, as large as the image."""

    code = "invalid_mask"
    title = "Invalid mask"


class ImageFetchFailed(ImageError):
    """The image could not be fetched from image_url."""

    code = "image_fetch_failed"
    title = "Image not fetched"


class InstructionNotUnderstood(ImgsvcError):
    """The local engine found nothing in the prompt that it can do. Say it in other words."""

    status = 422
    code = "instruction_not_understood"
    title = "Instruction not understood"


class ImageProcessDied(ImgsvcError):
    """The process that worked on the image was lost. Try again."""

    status = 503
    code = "image_process_died"
    retry_after = 1
    title = "Image process lost"
    retryable = True
