"""How a callback is signed, judged and repeated; nothing here does any I/O."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from yarl import URL

from imgsvc import __version__

_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]{1,5})?")
_PORTS = range(1, 65536)
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the public marker in front of every such secret
_SECRET_SIZES = range(24, 65)  # bytes, as Standard Webhooks asks for
_JITTER = 0.2  # each planned wait varies by this share, up and down


def _authority(value: str) -> str:
    value = value.lower()
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        raise ValueError("write host or host:port, without http:// and without a path")
    if match["port"] and int(match["port"][1:]) not in _PORTS:
        raise ValueError(f"the port has to be from {_PORTS[0]} to {_PORTS[-1]}")
    return value


def _network(value: object) -> IPv4Network | IPv6Network:
    """Return the network; pydantic alone would complain once for each of the two kinds."""
    try:
        return ip_network(str(value))
    except ValueError as exc:
        try:
            whole = ip_network(str(value), strict=False)
        except ValueError:
            raise ValueError("this is not a network; write one as 10.0.0.0/8") from exc
        raise ValueError(f"write the network as {whole}: host bits must be zero") from exc


def _host_name(value: str) -> str:
    try:
        name = value.lower().removesuffix(".").encode("idna").decode()
    except UnicodeError as exc:
        raise ValueError("this is not a host name") from exc
    if not name or set(name) & set("/:*@[] "):
        raise ValueError("write one host name, without scheme, port, path or wildcard")
    return name


def _signing_secret(value: SecretStr) -> SecretStr:
    try:
        size = len(_secret_key(value))
    except binascii.Error as exc:
        raise ValueError("what follows whsec_ is not base64") from exc
    if not value.get_secret_value().startswith(_SECRET_PREFIX) or size not in _SECRET_SIZES:
        raise ValueError("write whsec_ and then 24 to 64 random bytes in base64")
    return value


HostName = Annotated[str, AfterValidator(_host_name)]
"""A host name in lower case, in ASCII, and without a final dot."""

SigningSecret = Annotated[SecretStr, AfterValidator(_signing_secret)]
"""A secret of Standard Webhooks: whsec_ and base64."""


class CallbacksConfig(BaseModel):
    """How results are delivered, and where they may go."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    allow_networks: list[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]] = Field(
        default=[],
        description="Networks, as 10.1.0.0/16, that callbacks and image_url may reach although "
        "they are not public.",
    )
    allow_hosts: list[HostName] = Field(
        default=[],
        description="Host names that callbacks and image_url may reach wherever they resolve to.",
    )
    rewrite: dict[
        Annotated[str, AfterValidator(_authority)], Annotated[str, AfterValidator(_authority)]
    ] = Field(
        default={},
        description="Authorities (host or host:port) to replace in callback URLs, each with the "
        'authority to call instead, as {"wxo-server:4321": "127.0.0.1:14321"}.',
    )
    signing_secrets: list[SigningSecret] = Field(
        default=[],
        description="Standard Webhooks secrets (whsec_ and base64), the newest first. Each signs "
        "every callback, so that receivers can change over one by one. None: unsigned.",
    )
    schedule: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default=[0, 1, 5, 30, 120, 600, 1800, 7200],
        min_length=1,
        description="Seconds to wait before each attempt to deliver a callback; after the last "
        "one it is dead. Each wait varies by 20 %.",
    )
    timeout: float = Field(
        default=30,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one attempt may take in all, from the connection to the end of "
        "the receiver's answer.",
    )
    concurrency: int = Field(
        default=1024, ge=1, description="Callbacks that may be on their way at the same time."
    )
    per_host: int = Field(
        default=8,
        ge=1,
        description="Callbacks of those that may go to one host and port at the same time.",
    )
    progress_interval: float = Field(
        default=10,
        gt=0,
        allow_inf_nan=False,
        description="Seconds between two posts of one batch to its progressUrl, at least; there "
        "are none sooner after its start.",
    )


class Verdict(StrEnum):
    """What an attempt means for its callback."""

    DELIVERED = "delivered"  # the receiver has it
    RETRY = "retry"  # not delivered; try again while the schedule lasts
    DEAD = "dead"  # not delivered, and never will be


def judge(status: int) -> Verdict:
    """Return what an HTTP status means: 2xx delivers, 410 ends it, the rest is tried again."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.DEAD if status == 410 else Verdict.RETRY


def planned_delay(
    attempts: int,
    schedule: Sequence[float],
    *,
    retry_after: float | None,
    random: Callable[[], float],
) -> float | None:
    """Return the seconds to wait before the next attempt; None when none is left.

    ``attempts`` is how many were made, ``retry_after`` what the last answer asked for:
    it can make the wait longer, up to twice the planned one, never shorter. ``random``
    gives numbers from 0 to 1.
    """
    if attempts >= len(schedule):
        return None
    planned = schedule[attempts]
    varied = planned * (1 + _JITTER * (2 * random() - 1))
    return max(varied, min(retry_after or 0.0, 2 * planned))


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return a Retry-After header in seconds (RFC 9110, section 10.2.3); None if unusable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        # "-0000" and obsolete forms carry no zone; HTTP dates are always in GMT.
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def rewrite(url: URL, rules: Mapping[str, str]) -> URL:
    """Return the URL with its authority replaced, if a rule names it.

    A rule for ``host:port`` wins over one for ``host``. A target without a port keeps
    the port of the URL. Scheme, path and query stay as they are, byte for byte.
    """
    host = url.host_subcomponent or ""
    target = rules.get(f"{host}:{url.port}") or rules.get(host)
    if target is None:
        return url
    if url.explicit_port is not None and not re.search(r":[0-9]+$", target):
        target = f"{target}:{url.explicit_port}"
    return URL.build(
        scheme=url.scheme,
        authority=target,
        path=url.raw_path,
        query_string=url.raw_query_string,
        encoded=True,
    )


def sign(
    secrets: Iterable[SecretStr], *, webhook_id: str, timestamp: int, chunks: Iterable[bytes]
) -> str:
    """Return ``webhook-signature``: one ``v1,…`` a secret, in their order.

    See the symmetric scheme of https://www.standardwebhooks.com. The body comes in
    pieces, because it may be larger than anyone wants to hold in memory; that is also
    why the package ``standardwebhooks``, which signs a whole ``str``, is not used.
    """
    start = f"{webhook_id}.{timestamp}.".encode()
    signatures = [hmac.new(_secret_key(secret), start, hashlib.sha256) for secret in secrets]
    for chunk in chunks:
        for signature in signatures:
            signature.update(chunk)
    return " ".join(f"v1,{base64.b64encode(s.digest()).decode()}" for s in signatures)


def _secret_key(secret: SecretStr) -> bytes:
    encoded = secret.get_secret_value().removeprefix(_SECRET_PREFIX)
    missing = -len(encoded) % 4  # secrets are often copied without their padding
    return base64.b64decode(encoded + "=" * missing, validate=True)


def common_headers(request_id: str) -> dict[str, str]:
    """Return the headers of everything that is sent to a caller's URL."""
    return {
        "Content-Type": "application/json",
        "User-Agent": f"imgsvc/{__version__}",
        "Accept-Encoding": "identity",  # the answer is for people; nothing may unfold into a bomb
        "X-Request-Id": request_id,
    }


def headers(
    *, webhook_id: str, request_id: str, timestamp: int, signature: str | None
) -> dict[str, str]:
    """Return the headers of a callback; ``timestamp`` is in Unix seconds."""
    signed = {} if signature is None else {"webhook-signature": signature}
    return {
        **common_headers(request_id),
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        **signed,
    }
