"""What is wrong with a request, field by field."""

from pydantic import ValidationError

from imgsvc.errors import FieldError, InvalidRequest
from imgsvc.findings import in_plain_words


def explain(exc: ValidationError) -> InvalidRequest:
    """Return pydantic's findings as ours: one entry a field, without the values sent."""
    found = [
        FieldError(
            field=".".join(str(part) for part in error["loc"]) or "body",
            message=_MESSAGES.get(error["type"]) or in_plain_words(error),
        )
        for error in exc.errors(include_url=False, include_input=False)
    ]
    return InvalidRequest(found)


def wrong_field(field: str, message: str) -> InvalidRequest:
    """Return the error for one wrong field."""
    return InvalidRequest([FieldError(field=field, message=message)])


_MESSAGES = {
    "extra_forbidden": "unknown field; see /docs for those there are",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "is not in the form that /docs shows for it",
    "missing": "this field is required",
    "model_type": "must be a JSON object",
}
