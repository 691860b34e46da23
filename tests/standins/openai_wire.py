"""The wire format of OpenAI's ``/v1/images/edits``, without any network.

As strict as the real API about keys, models, parameters and picture types.
"""

import base64
import io
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from PIL import Image, ImageOps

API_KEY = "sk-standin-Zm9yVGVzdHNPbmx5QWJjMTIz"
MODELS = (
    "gpt-image-2",
    *(f"gpt-image-{v}-{name}" for v in ("2.5", "2.6") for name in ("sunburst", "flare")),
)
MAX_IMAGE_BYTES = 50_000_000
MAX_MASK_BYTES = 4_000_000
KINDS = {
    "image/png": (b"\x89PNG\r\n\x1a\n", (".png",)),
    "image/jpeg": (b"\xff\xd8\xff", (".jpg", ".jpeg")),
    "image/webp": (b"RIFF", (".webp",)),
}
CHOICES = {
    "quality": ("low", "medium", "high", "auto"),
    "background": ("transparent", "opaque", "auto"),
    "output_format": ("png", "jpeg", "webp"),
    "n": ("1",),
    "stream": ("true", "false"),
    "partial_images": ("0", "1", "2", "3"),
}
FILES = ("image", "mask")
USAGE = (
    b'{"input_tokens":323,"input_tokens_details":{"text_tokens":17,"image_tokens":306},'
    b'"output_tokens":1056,"total_tokens":1379}'
)
PARAMETERS = (*FILES, *CHOICES, "prompt", "model", "size", "user", "output_compression")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One error answer of the API."""

    status: int
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    message: str = "The request failed."
    headers: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)  # more fields of the error


def _quota(code: str) -> Failure:
    return Failure(status=429, type="insufficient_quota", code=code, message="Check your plan.")


FAILURES = {
    "billing_hard_limit_reached": Failure(
        status=400,
        type="billing_limit_user_error",
        code="billing_hard_limit_reached",
        message="Billing hard limit has been reached.",
    ),
    "insufficient_quota": _quota("insufficient_quota"),
    "credit_balance_exhausted": _quota("credit_balance_exhausted"),
    "organization_spend_limit_exceeded": _quota("organization_spend_limit_exceeded"),
    "project_spend_limit_exceeded": _quota("project_spend_limit_exceeded"),
    "organization_usage_limit_exceeded": _quota("organization_usage_limit_exceeded"),
    "billing_not_active": Failure(
        status=429,
        type="billing_not_active",
        code="billing_not_active",
        message="Your account is not active, please check your billing details.",
    ),
    "rate_limit_exceeded": Failure(
        status=429,
        type="input-images",
        code="rate_limit_exceeded",
        message="Rate limit reached for gpt-image-2 on input-images per min: Limit 5.",
        headers={"Retry-After": "12", "Retry-After-Ms": "12000"},
    ),
    "slow_down": Failure(
        status=429, type="requests", code="slow_down", headers={"Retry-After": "3"}
    ),
    "moderation_blocked": Failure(
        status=400,
        type="image_generation_user_error",
        code="moderation_blocked",
        message=(
            "Your request was rejected by the safety system. If you believe this is an error,"
            " contact us at help.openai.com and include the request ID"
            " req_0000000000000000000000000000001f. safety_violations=[sexual, violence]."
        ),
        details={
            "moderation_details": {
                "moderation_stage": "input",
                "categories": ["sexual", "violence"],
            }
        },
    ),
    "content_policy_violation": Failure(
        status=400, type="image_generation_user_error", code="content_policy_violation"
    ),
    "invalid_image_file": Failure(
        status=400,
        code="invalid_image_file",
        param="image",
        message="Invalid image file or mode for image 1, please check your image file.",
    ),
    "invalid_image": Failure(status=400, code="invalid_image", param="image"),
    "unknown_parameter": Failure(status=400, code="unknown_parameter", param="input_fidelity"),
    "invalid_value": Failure(
        status=400, code="invalid_value", param="size", message="Invalid size '13x13'."
    ),
    "invalid_api_key": Failure(
        status=401,
        code="invalid_api_key",
        message=f"Incorrect API key provided: {API_KEY[:8]}********{API_KEY[-4:]}.",
    ),
    "organization_not_verified": Failure(
        status=403,
        message="Your organization must be verified to use the model `gpt-image-2`.",
    ),
    "model_not_found": Failure(
        status=404,
        code="model_not_found",
        param="model",
        message="The model 'gpt-image-1' does not exist or you do not have access to it.",
    ),
    "server_error": Failure(status=500, type="server_error", code="server_error"),
    "server_is_overloaded": Failure(
        status=503, type="service_unavailable_error", code="server_is_overloaded"
    ),
}
"""Every error the API answers with, by the name given to ``fail_next``."""

TRICKS = (
    "gateway_html",  # 502 with a web page, as a proxy in between gives it
    "hang",  # no answer at all
    "disconnect",  # the connection ends before an answer
    "disconnect_mid_answer",  # the connection ends half way through the picture
    "web_page",  # 200 with a web page
    "redirect",  # 307 to another place
    "url_answer",  # a link in place of the picture, as some compatible servers give it
    "empty_data",  # no picture
    "not_base64",  # text in place of base64
    "not_an_image",  # valid base64 of something else
    "broken_json",  # the answer ends early, but the connection does not
    "escaped_json",  # the picture's slashes and pluses as JSON escapes, which is valid
)
"""What goes wrong without an error body of the API."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """One file of a multipart body as it arrived."""

    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of the API as it arrived."""

    fields: Mapping[str, str]
    image: Upload
    mask: Upload | None
    headers: Mapping[str, str]


class Refused(Exception):
    """Carries an error answer to the place that gives it."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


def refused(code: str, param: str) -> Refused:
    """Return the refusal of one parameter."""
    return Refused(Failure(status=400, code=code, param=param, message=f"Refused: '{param}'."))


def check_call(call: Call, models: Collection[str], mask_band: str) -> None:
    """Raise Refused for what the real API does not take.

    `mask_band` is the channel of a mask that says where to edit.
    """
    _check_fields(call.fields, models)
    _check_image(call.image)
    if call.mask is not None:
        _check_mask(call.mask, call.image, mask_band)


def _check_fields(fields: Mapping[str, str], models: Collection[str]) -> None:
    if not fields.get("prompt"):
        raise refused("missing_required_parameter", "prompt")
    if fields.get("model") not in models:
        raise Refused(FAILURES["model_not_found"])
    for name, allowed in CHOICES.items():
        if name in fields and fields[name] not in allowed:
            raise refused("invalid_value", name)
    if "partial_images" in fields and fields.get("stream") != "true":
        raise refused("invalid_value", "partial_images")
    match = re.fullmatch(r"(\d+)x(\d+)", fields.get("size", "1024x1024"))
    if fields.get("size") == "auto":
        return
    if match is None:
        raise refused("invalid_value", "size")
    width, height = int(match[1]), int(match[2])
    if width % 16 or height % 16 or not 1 / 3 <= width / max(height, 1) <= 3:
        raise refused("invalid_value", "size")


def _check_image(upload: Upload) -> None:
    if upload.content_type not in KINDS:
        raise Refused(Failure(status=400, code="unsupported_file_mimetype", param="image"))
    magic, suffixes = KINDS[upload.content_type]
    suffix = PurePath(upload.filename).suffix.lower()
    if not upload.data.startswith(magic) or suffix not in suffixes:
        raise Refused(FAILURES["invalid_image_file"])
    if len(upload.data) >= MAX_IMAGE_BYTES:
        raise Refused(Failure(status=400, code="image_file_too_large", param="image"))
    with Image.open(io.BytesIO(upload.data)) as image:
        if image.mode not in {"L", "LA", "RGB", "RGBA"}:
            raise Refused(FAILURES["invalid_image_file"])


def _check_mask(mask: Upload, image: Upload, band: str) -> None:
    if mask.content_type != "image/png" or len(mask.data) >= MAX_MASK_BYTES:
        raise refused("invalid_value", "mask")
    with Image.open(io.BytesIO(mask.data)) as a, Image.open(io.BytesIO(image.data)) as b:
        if a.format != "PNG" or a.size != b.size or band not in a.getbands():
            raise refused("invalid_value", "mask")


def mirror(data: bytes, output_format: str, size: str) -> bytes:
    """Return the picture mirrored, in another format and size."""
    with Image.open(io.BytesIO(data)) as image:
        edited = ImageOps.mirror(image.convert("RGB" if output_format == "jpeg" else "RGBA"))
    if size != "auto":
        width, height = size.split("x")
        edited = edited.resize((int(width), int(height)))
    out = io.BytesIO()
    edited.save(out, output_format)
    return out.getvalue()


def answer_body(call: Call, picture: bytes, trick: str | None, *, with_usage: bool = True) -> bytes:
    """Return the JSON, put together by hand so that large pictures cost little."""
    if trick == "url_answer":
        data = b'[{"url":"https://example.com/picture.png"}]'
    elif trick == "empty_data":
        data = b"[]"
    else:
        text = b"not base64!" * 9 if trick == "not_base64" else base64.b64encode(picture)
        if trick == "escaped_json":
            text = text.replace(b"/", b"\\/").replace(b"+", b"\\u002B")
        data = b'[{"b64_json":"' + text + b'"}]'
    settings = ",".join(
        f'"{name}":"{call.fields[name]}"'
        for name in ("background", "output_format", "quality", "size")
        if name in call.fields
    )
    body = b'{"created":1776000000,"data":%b' % data
    if settings:
        body += b"," + settings.encode()
    body += b',"usage":%b}' % USAGE if with_usage else b"}"
    return body[:-20] if trick == "broken_json" else body
