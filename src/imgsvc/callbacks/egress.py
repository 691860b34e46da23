"""Settings of where the service may connect to when a caller names the URL."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_PORTS = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?")


def _range(entry: str) -> range:
    match = _PORTS.fullmatch(entry)
    if match is None:
        raise ValueError('write a port as 443, or a range of them as "1024-65535"')
    first, last = int(match["first"]), int(match["last"] or match["first"])
    if not 1 <= first <= last <= 65535:
        raise ValueError("ports are from 1 to 65535, the lower one first")
    return range(first, last + 1)


def _port_entry(value: object) -> str:
    entry = str(value)
    _range(entry)
    return entry


class EgressConfig(BaseModel):
    """Where callbacks, progress posts and image_url may go; see also `callbacks`."""

    model_config = ConfigDict(extra="forbid")

    require_https: bool = Field(
        default=False, description="Refuse URLs that are http, in redirects too."
    )
    ports: list[Annotated[str, BeforeValidator(_port_entry)]] = Field(
        default=["80", "443", "1024-65535"],
        description="Ports that may be called, and ranges of them.",
    )

    @property
    def port_ranges(self) -> tuple[range, ...]:
        """The ports that may be called."""
        return tuple(_range(entry) for entry in self.ports)
