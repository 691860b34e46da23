"""Names of moderation categories, as APIs write them: ``violence``, ``self-harm/intent``.

They go into answers, callbacks and logs, so nothing else passes for one.
"""

import re
from collections.abc import Iterable

MAX_CATEGORIES = 16

_NAME = re.compile(r"[a-z][a-z_/-]{0,63}")


def category_names(found: Iterable[object]) -> tuple[str, ...]:
    """Return those that are names of categories, each once and in their order."""
    names = [name for name in found if isinstance(name, str) and _NAME.fullmatch(name)]
    return tuple(dict.fromkeys(names))[:MAX_CATEGORIES]
