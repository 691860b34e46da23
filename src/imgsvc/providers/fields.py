"""Keys of the configuration that several kinds of providers have."""

import re
from typing import Annotated

from pydantic import AfterValidator


def _check_base_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+[^\s?#@]*", url):
        raise ValueError("should be an http or https URL without a password or a query")
    return url.rstrip("/")


def matching(pattern: str, what: str) -> AfterValidator:
    """Return what refuses a text that the pattern does not match, and says what it should be."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"should be {what}")
        return text

    return AfterValidator(check)


BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
"""Where a server is; without a slash at its end."""
