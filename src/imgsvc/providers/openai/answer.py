"""What an images endpoint answers: one picture and what it cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgsvc.errors import ProviderBadAnswer
from imgsvc.providers.cutting import PictureDocument

PICTURE_START = re.compile(rb'"b64_json"\s*:\s*"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the API sent: one picture and what it cost."""

    base64: bytes  # standard and padded
    usage: Mapping[str, Any]  # token counts; empty if the server tells none


class AnswerReader(PictureDocument):
    """Fed with the chunks of an answer that is one JSON document; does no I/O."""

    def __init__(self) -> None:
        super().__init__(PICTURE_START)

    def close(self) -> Answer:
        """Return the whole answer; raise ProviderBadAnswer if it is not one.

        To be run in a thread, as `base64`.
        """
        document = self.rest()
        match document:
            case {"data": [{"b64_json": ""}, *_]} if self.has_picture:
                return Answer(base64=self.base64(), usage=usage_of(document))
            case {"data": [{"url": str()}, *_]}:
                raise ProviderBadAnswer(
                    "The image API answered with a link instead of the image itself. "
                    "The operator has to set the server up to answer with b64_json."
                )
        raise ProviderBadAnswer("The image API's answer holds no image.")


def usage_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the field ``usage``; empty if it is missing or something else."""
    usage = document.get("usage")
    return usage if isinstance(usage, dict) else {}
