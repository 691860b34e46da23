"""Names of moderation categories, as APIs write them: ``violence``, ``self-harm/intent``.

They go into answers, callbacks and logs, so nothing else passes for one.
"""

import re
from collections.abc import Iterable

MAX_CATEGORIES = 16

_NAME = re.compile(r"[a-z][a-z_/-]{0,63}")
_VIOLATIONS = re.compile(r"safety_violations=\[([a-z_/, -]{1,1100})\]")


def category_names(found: Iterable[object]) -> tuple[str, ...]:
    """Return those that are names of categories, each once and in their order."""
    names = [name for name in found if isinstance(name, str) and _NAME.fullmatch(name)]
    return tuple(dict.fromkeys(names))[:MAX_CATEGORIES]


def refused_categories(body: object) -> tuple[str, ...]:
    """Return the categories that the error body of a moderation refusal names.

    They are in the field `moderation_details`, as the SDK's type
    ``ImageGenerationCallErrorModerationDetails`` has it, or else in the message only:
    ``… safety_violations=[sexual, violence].``
    """
    match body:
        case {"moderation_details": {"categories": [*found]}} if names := category_names(found):
            return names
        case {"message": str(message)} if listed := _VIOLATIONS.search(message):
            return category_names(name.strip() for name in listed[1].split(","))
    return ()
