"""The three tools, described for an agent that has to choose one and fill it in."""

from imgsvc.errors import (
    BodyTimeout,
    BodyTooLarge,
    BucketNotAllowed,
    BucketNotFound,
    ClientLimitReached,
    ControlCharacter,
    CorruptImage,
    DiskRefuses,
    ForbiddenUrl,
    IdempotencyKeyReused,
    ImageFileTooLarge,
    ImageProcessDied,
    ImageTooComplex,
    ImageTooLarge,
    InvalidBase64,
    InvalidIdempotencyKey,
    InvalidJson,
    InvalidMask,
    InvalidRequest,
    InvalidUrl,
    MissingCallbackUrl,
    ModerationUnavailable,
    NotAllowedForClient,
    NotAnImage,
    PromptRejected,
    QueueFull,
    ServerBusy,
    ShuttingDown,
    SpoolFull,
    StorageAccessDenied,
    StorageError,
    StorageUnreachable,
    TooManyDryRuns,
    UnsupportedImageType,
    UnsupportedMediaType,
)
from imgsvc.jobs.bodies import BatchCallback, ImageToBase64Callback, ImageToStorageCallback
from imgsvc.web.batch_schemas import BatchRequest, DryRun
from imgsvc.web.openapi_headers import PROGRESS_URL
from imgsvc.web.openapi_parts import JOB_ID_EXAMPLE, Examples, Tool
from imgsvc.web.schemas import ProcessImageRequest

_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
"""A PNG of one pixel."""


_ANY_REFUSALS = (
    InvalidJson,
    ControlCharacter,
    MissingCallbackUrl,
    InvalidUrl,
    ForbiddenUrl,
    InvalidIdempotencyKey,
    BodyTimeout,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidRequest,
    PromptRejected,
    IdempotencyKeyReused,
    ClientLimitReached,
    NotAllowedForClient,
    QueueFull,
    DiskRefuses,
    SpoolFull,
    ServerBusy,
    ModerationUnavailable,
    ShuttingDown,
    ImageProcessDied,
)
_STORAGE_REFUSALS = (StorageError, BucketNotFound, StorageAccessDenied, StorageUnreachable)
"""Of a dry run; a batch tells of them in its callback."""

_IMAGE_REFUSALS = (
    *_ANY_REFUSALS,
    InvalidBase64,
    ImageFileTooLarge,
    UnsupportedImageType,
    NotAnImage,
    ImageTooLarge,
    ImageTooComplex,
    CorruptImage,
    InvalidMask,
)

_IMAGE_INPUTS = (
    "Give `prompt` and exactly one of `image_url` and `image_base64`. If there is a link to the"
    " image, pass it as `image_url`. Leave out every other field that the user did not ask for."
)
_WAITING = (
    "The call is accepted at once. The edit takes seconds to a few minutes, and the result arrives"
    " later by callback: wait for it, and do not call the tool again meanwhile."
)
_FALLBACK = (
    "If `fallback` is true, a simpler local engine did the edit, because the image API could not:"
    " tell the user, for the result may be less than what was asked for."
)

_IMAGE_REQUESTS: Examples = {
    "inline": (
        "The image in the request",
        {
            "prompt": "Make the sky look like a sunset",
            "image_base64": _PIXEL,
            "filename": "photo.png",
        },
    ),
    "link": (
        "A link to the image",
        {
            "prompt": "Remove the background",
            "image_url": "https://example.com/photos/shoe.jpg",
            "filename": "shoe.jpg",
            "background": "transparent",
            "output_format": "png",
        },
    ),
}
_IMAGE_FAILED = (
    "It did not work",
    {
        "status": "failed",
        "job_id": JOB_ID_EXAMPLE,
        "provider": "openai",
        "fallback": False,
        "error": (
            "ProviderRefusedContent: The image API's moderation refused this prompt or image."
            " Change them and try again. (model gpt-image-2, status 400, code moderation_blocked,"
            " categories violence)"
        ),
        "moderation_categories": ["violence"],
        "filename": "photo.png",
    },
)
_EDITED = {"status": "completed", "job_id": JOB_ID_EXAMPLE, "provider": "openai", "fallback": False}

TOOLS = (
    Tool(
        path="/process-image-async-b64",
        operation_id="processImageAsyncToBase64",
        summary="Edit an image and get it as base64",
        description=(
            "Edits one image as the prompt says and returns the edited image file itself, as"
            " base64. Choose this tool when the next step needs the image's bytes: to show it, to"
            " attach it, or to hand it to another tool. For a link in place of the bytes use"
            " processImageAsyncToCos; for a whole folder of images use batchProcessImages.\n\n"
            f"{_IMAGE_INPUTS}\n\n{_WAITING}\n\n"
            "What comes back: if `status` is `completed`, `result_image_base64` is the edited image"
            " and `result_mime_type` its media type. If it is `failed`, `error` says what happened"
            f" and what to do about it. {_FALLBACK}"
        ),
        request=ProcessImageRequest,
        callback=ImageToBase64Callback,
        request_examples=_IMAGE_REQUESTS,
        callback_examples={
            "completed": (
                "The edited image",
                {
                    **_EDITED,
                    "filename": "photo.png",
                    "result_image_base64": _PIXEL,
                    "result_mime_type": "image/png",
                },
            ),
            "failed": _IMAGE_FAILED,
        },
        refusals=_IMAGE_REFUSALS,
    ),
    Tool(
        path="/process-image-async",
        operation_id="processImageAsyncToCos",
        summary="Edit an image and get a link to it",
        description=(
            "Edits one image as the prompt says, keeps the edited image in object storage and"
            " returns a download link. Choose this tool when a person shall open the result, or"
            " when it shall be kept; it is the better choice in a chat. For the bytes in place of"
            " a link use processImageAsyncToBase64; for a whole folder of images use"
            " batchProcessImages.\n\n"
            f"{_IMAGE_INPUTS}\n\n{_WAITING}\n\n"
            "What comes back: if `status` is `completed`, `result_url` is the link (pass it on"
            " unchanged: it is signed), `expires_in` says for how many seconds it works, and"
            " `object_key` names the object in the output bucket. If it is `failed`, `error` says"
            f" what happened and what to do about it. {_FALLBACK}"
        ),
        request=ProcessImageRequest,
        callback=ImageToStorageCallback,
        request_examples=_IMAGE_REQUESTS,
        callback_examples={
            "completed": (
                "A link to the edited image",
                {
                    **_EDITED,
                    "filename": "photo.png",
                    "object_key": f"results/{JOB_ID_EXAMPLE}/photo_modified.png",
                    "result_url": (
                        f"https://s3.example.com/output/results/{JOB_ID_EXAMPLE}/photo_modified.png"
                        "?X-Amz-Expires=3600&X-Amz-Signature=0123abcd"
                    ),
                    "expires_in": 3600,
                },
            ),
            "failed": _IMAGE_FAILED,
        },
        refusals=_IMAGE_REFUSALS,
    ),
    Tool(
        path="/batch-process-images",
        operation_id="batchProcessImages",
        summary="Edit every image of a folder",
        description=(
            "Applies one prompt to every image below a folder (a key prefix) of the input bucket,"
            " or to a list of images in it, and writes the edited images to the output bucket."
            " Choose this tool only when the user speaks of many images that are in the bucket"
            " already; it takes no image. For a single image use processImageAsyncToCos or"
            " processImageAsyncToBase64.\n\n"
            "Give `prompt`. Give `input_prefix` if the user names a folder; without it the"
            " configured folder is taken. `include`, `exclude`, `since` and `limit` take only some"
            " of its images; `keys` names single ones in place of a folder. Leave out every other"
            " field that the user did not ask for.\n\n"
            "The call is accepted at once. The batch takes seconds to minutes an image, and one"
            " callback arrives when all are done: wait for it, and do not call the tool again"
            " meanwhile.\n\n"
            "What comes back: counters, and `output_bucket` and `output_prefix`, which say where"
            " the edited images are. `status` is `completed` if every image was edited as asked,"
            " `completed_with_errors` if some failed (`failed`) or were edited by the simpler"
            " local engine (`fallback_local`), and `failed` if there is no output. `errors` has a"
            " line for images that failed: tell the user."
        ),
        request=BatchRequest,
        callback=BatchCallback,
        request_examples={
            "folder": (
                "A folder of the input bucket",
                {"prompt": "Convert to black and white", "input_prefix": "input/spring/"},
            ),
            "new": (
                "Photos that came since yesterday, at most 500",
                {
                    "prompt": "Convert to black and white",
                    "input_prefix": "input/spring/",
                    "include": ["**/*.jpg", "**/*.jpeg"],
                    "exclude": ["drafts/**"],
                    "since": "2026-11-25T00:00:00+01:00",
                    "limit": 500,
                },
            ),
            "keys": (
                "Two images",
                {
                    "prompt": "Convert to black and white",
                    "keys": ["input/spring/a.png", "input/autumn/b.png"],
                },
            ),
            "configured": ("The configured folder", {"prompt": "Convert to black and white"}),
        },
        callback_examples={
            "completed_with_errors": (
                "One of three images failed",
                {
                    "status": "completed_with_errors",
                    "job_id": JOB_ID_EXAMPLE,
                    "provider": "openai",
                    "fallback": False,
                    "total_files": 3,
                    "processed": 2,
                    "failed": 1,
                    "fallback_local": 0,
                    "total_files_processed": 2,
                    "duration_seconds": 41.7,
                    "output_bucket": "output",
                    "output_prefix": "output/",
                    "errors": ["input/spring/c.png: CorruptImage: The image is damaged."],
                },
            ),
        },
        refusals=(*_ANY_REFUSALS, BucketNotAllowed, TooManyDryRuns, *_STORAGE_REFUSALS),
        headers=(PROGRESS_URL,),
        preview=DryRun,
        preview_examples={
            "dry_run": (
                "What would be done",
                {
                    "dry_run": True,
                    "complete": True,
                    "images": 3,
                    "skipped": 1,
                    "failed": 0,
                    "bytes": 3_482_113,
                    "first_keys": [
                        "input/spring/a.png",
                        "input/spring/b.png",
                        "input/spring/c.png",
                    ],
                    "errors": [],
                    "estimated_cost_usd": 0.63,
                },
            ),
        },
    ),
)

PREVIEWS = tuple(tool.preview for tool in TOOLS if tool.preview is not None)
"""The answers to dry runs."""
