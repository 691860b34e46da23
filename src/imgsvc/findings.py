"""What pydantic finds wrong with a value, in plain words."""

from collections.abc import Mapping

from pydantic_core import ErrorDetails


def in_plain_words(finding: ErrorDetails) -> str:
    """Return what a value should be: `should be a whole number`. It is not repeated itself."""
    if words := _WORDS.get(finding["type"]):
        bounds = finding.get("ctx", {}).items()
        return words.format_map({name: _plain(bound) for name, bound in bounds})
    message = finding["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{message[0].lower()}{message[1:]}"


def _plain(bound: object) -> object:
    """Return 0 for 0.0, and 0.000001 for 1e-06."""
    return f"{bound:f}".rstrip("0").removesuffix(".") if isinstance(bound, float) else bound


_WHOLE = "should be a whole number"
_NUMBER = "should be a number"
_SWITCH = "should be true or false"
_TEXT = "should be a text"
_DAY = "should be a day like 2026-12-01"

_WORDS: Mapping[str, str] = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "string_type": _TEXT,
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "too_short": "should have {min_length} or more entries",
    "too_long": "should have at most {max_length} entries",
    "dict_type": "should be a table",
    "less_than": "should be below {lt}",
    "less_than_equal": "should be {le} at most",
    "greater_than": "should be above {gt}",
    "greater_than_equal": "should be {ge} at least",
}
