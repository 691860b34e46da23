"""What is wrong with a request, field by field."""

from pydantic import ValidationError

from imgsvc.errors import FieldError, InvalidRequest


def explain(exc: ValidationError) -> InvalidRequest:
    """Return pydantic's findings as ours: one entry a field, without the values sent."""
    found = [
        FieldError(
            field=".".join(str(part) for part in error["loc"]) or "body",
            message=_MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, ")),
        )
        for error in exc.errors(include_url=False, include_input=False, include_context=False)
    ]
    return _invalid(found)


def wrong_field(field: str, message: str) -> InvalidRequest:
    """Return the error for one wrong field."""
    return _invalid([FieldError(field=field, message=message)])


def _invalid(found: list[FieldError]) -> InvalidRequest:
    summary = "; ".join(f"{error.field}: {error.message}" for error in found[:5])
    return InvalidRequest(found, f"The request has wrong fields. {summary.rstrip('.')}.")


_MESSAGES = {
    "extra_forbidden": "unknown field; see /docs for those there are",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "is not in the form that /docs shows for it",
    "missing": "this field is required",
    "model_type": "must be a JSON object",
}
