"""The wire format of OpenAI's ``/v1/moderations``, without any network."""

from collections.abc import Collection, Mapping
from typing import Any

from standins.openai_wire import FAILURES, Refused, refused

MODELS = ("omni-moderation-latest", "omni-moderation-2024-09-26")
CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def check_question(question: Mapping[str, Any]) -> None:
    """Raise Refused for what the real API does not take."""
    for name in question.keys() - {"input", "model"}:
        raise refused("unknown_parameter", name)
    if not isinstance(question.get("input"), str) or not question["input"]:
        raise refused("missing_required_parameter", "input")
    if question.get("model", MODELS[0]) not in MODELS:
        raise Refused(FAILURES["model_not_found"])


def judgement(flagged: Collection[str]) -> dict[str, Any]:
    """Return the answer for one text in which these categories are flagged."""
    return {
        "id": "modr-970d409ef3bef3b70c73d8232df86e7d",
        "model": MODELS[0],
        "results": [
            {
                "flagged": bool(flagged),
                "categories": {name: name in flagged for name in CATEGORIES},
                "category_scores": {
                    name: 0.9971 if name in flagged else 0.0000172 for name in CATEGORIES
                },
                "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
            }
        ],
    }
