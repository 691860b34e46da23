"""Settings of where the service may connect to when a caller names the URL."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from yarl import URL

from imgsvc.callbacks.guard import check_url
from imgsvc.errors import InvalidUrl

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


def _proxy(value: SecretStr) -> SecretStr:
    example = "write the proxy as http://user:password@proxy.internal:3128"
    try:
        given = URL(value.get_secret_value())
        url = check_url(str(given.with_user(None)))
    except (ValueError, InvalidUrl) as exc:
        raise ValueError(example) from exc
    if (
        not url.explicit_port
        or url.path != "/"
        or url.query_string
        or given.fragment
        or ":" in (given.user or "")
    ):
        raise ValueError(example)
    return value


class EgressConfig(BaseModel):
    """Where callbacks, progress posts and image_url may go; see also `callbacks`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    require_https: bool = Field(
        default=False, description="Refuse URLs that are http, in redirects too."
    )
    ports: list[Annotated[str, BeforeValidator(_port_entry)]] = Field(
        default=["80", "443", "1024-65535"],
        min_length=1,
        description="Ports that may be called, and ranges of them.",
    )
    proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = Field(
        default=None,
        description="Forward proxy that all these calls go through, as "
        "http://user:password@proxy.internal:3128; it resolves the names.",
    )

    def current_proxy(self) -> SecretStr:
        """Return the URL of the proxy as it is now; only where there is one."""
        if self.proxy is None:
            raise LookupError("there is no proxy")
        return self.proxy

    @property
    def port_ranges(self) -> tuple[range, ...]:
        """The ports that may be called."""
        return tuple(_range(entry) for entry in self.ports)
