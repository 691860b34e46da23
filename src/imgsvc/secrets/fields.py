"""Secrets that go into a header of HTTP."""

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr


def fits_header(text: str) -> bool:
    """Tell whether a text holds visible ASCII characters only."""
    return re.fullmatch(r"[!-~]+", text) is not None


def _check_secret(secret: SecretStr) -> SecretStr:
    if not fits_header(secret.get_secret_value()):
        raise ValueError("may hold visible ASCII characters only")
    return secret


HeaderSecret = Annotated[SecretStr, AfterValidator(_check_secret)]
"""A secret that goes into a header of HTTP."""
