"""Where the service may connect to when a caller names the URL: the rules.

:mod:`imgsvc.callbacks.connections` keeps to them.
"""

import errno
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

from pydantic import SecretStr
from yarl import URL

from imgsvc.errors import ForbiddenUrl, InvalidUrl

MAX_URL_LENGTH = 2048
"""Characters that a URL from a caller may have."""

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(\?(?P<query>[^#]*))?(#.*)?",
    re.IGNORECASE,
)
# Controls, white space and lone surrogates: yarl drops some of them silently, and a
# backslash is a slash to some parsers and none to others.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\\s\ud800-\udfff]")
# int() takes more for a number than RFC 3986, section 3.2.3: signs, and digits of all scripts.
_PORT = re.compile(r"(?:\[.*\]|[^:\[\]]*)(?::[0-9]{0,5})?")
_NAME = re.compile(r"(?!.{254})(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
# A last label of this form makes the whole host an IPv4 address for WHATWG URL parsers
# (https://url.spec.whatwg.org/#ends-in-a-number-checker) and for inet_aton.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_DENIED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # "this network", reaches loopback on Linux: RFC 791, RFC 6890
        "10.0.0.0/8",  # private use: RFC 1918
        "100.64.0.0/10",  # shared by carrier-grade NAT: RFC 6598; Alibaba's metadata is here
        "127.0.0.0/8",  # loopback: RFC 1122
        "168.63.129.16/32",  # Azure's wire server, public in form only: Azure documentation
        "169.254.0.0/16",  # link-local, and metadata of most clouds: RFC 3927
        "172.16.0.0/12",  # private use: RFC 1918
        "192.0.0.0/24",  # IETF protocol assignments: RFC 6890; Oracle's metadata is here
        "192.0.2.0/24",  # documentation: RFC 5737
        "192.88.99.0/24",  # 6to4 relays, deprecated: RFC 7526
        "192.168.0.0/16",  # private use: RFC 1918
        "198.18.0.0/15",  # benchmarking: RFC 2544
        "198.51.100.0/24",  # documentation: RFC 5737
        "203.0.113.0/24",  # documentation: RFC 5737
        "224.0.0.0/4",  # multicast: RFC 5771
        "240.0.0.0/4",  # reserved: RFC 1112; broadcast: RFC 919
        "::/128",  # unspecified: RFC 4291
        "::1/128",  # loopback: RFC 4291
        "::/96",  # IPv4-compatible, deprecated: RFC 4291
        "64:ff9b::/96",  # NAT64, leads to any IPv4 address: RFC 6052
        "64:ff9b:1::/48",  # NAT64 for local use: RFC 8215
        "100::/64",  # discard only: RFC 6666
        "2001::/23",  # IETF protocol assignments, Teredo, benchmarking, ORCHID: RFC 2928, RFC 4380
        "2001:db8::/32",  # documentation: RFC 3849
        "2002::/16",  # 6to4, leads to any IPv4 address: RFC 3056
        "3fff::/20",  # documentation: RFC 9637
        "5f00::/16",  # segment routing: RFC 9602
        "fc00::/7",  # unique local, and metadata as fd00:ec2::254: RFC 4193
        "fe80::/10",  # link-local: RFC 4291
        "fec0::/10",  # site-local, deprecated: RFC 3879
        "ff00::/8",  # multicast: RFC 4291
        # Whatever else is not global unicast, 2000::/3: IANA, IPv6 address space
        "::/3",
        "4000::/2",
        "8000::/1",
    )
)


# The middle of the interface identifiers that hold an IPv4 address: RFC 5214, section 6.1
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})

# None of mail, remote shells and the other old protocols that a POST may be aimed at.
_DEFAULT_PORTS = (range(80, 81), range(443, 444), range(1024, 65536))


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressPolicy:
    """What is allowed beyond the public Internet, and what is not within it."""

    allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    allow_hosts: frozenset[str] = frozenset()  # in lower case, without a final dot
    allow_loopback: bool = False
    require_https: bool = False
    ports: tuple[range, ...] = _DEFAULT_PORTS
    own_port: int | None = None  # that the server listens on; None: it does not
    public_url: URL | None = None  # how callers reach the server
    proxy: Callable[[], SecretStr] | None = None
    """Tells the URL of a forward proxy, asked at each call; None: call directly."""

    def allows_name(self, host: str) -> bool:
        """Return whether this host is allowed by its name, wherever it resolves to."""
        return _plain(host) in self.allow_hosts

    def check(self, url: URL) -> None:
        """Raise ForbiddenUrl if the URL, from :func:`check_url`, alone tells that it may not be.

        Names wait for their addresses, except ``localhost`` and what is below it, which
        never leave the machine (RFC 6761, section 6.3).
        """
        host, port = url.raw_host or "", url.port or 0
        if self.require_https and url.scheme != "https":
            raise ForbiddenUrl(
                "The URL is http. This server calls https alone: egress.require_https is on."
            )
        if not any(port in ports for ports in self.ports):
            raise ForbiddenUrl(
                f"The URL names the port {port}, which this server does not call. An operator can"
                " open it: egress.ports."
            )
        if self._is_public_url(host, port):
            raise ForbiddenUrl("The URL leads to this server itself.")
        name = _plain(host)
        local = name == "localhost" or name.endswith(".localhost")
        try:
            address = ip_address("127.0.0.1" if local else name)
        except ValueError:
            return
        self.check_address(address, port, host=host)

    def check_address(self, address: IPv4Address | IPv6Address, port: int, *, host: str) -> None:
        """Raise ForbiddenUrl if this address of the host may not be connected to."""
        if not self.allows_name(host) and is_forbidden(address, self):
            raise ForbiddenUrl
        if port == self.own_port and is_local(address):
            raise ForbiddenUrl("The URL leads to this server itself.")

    def _is_public_url(self, host: str, port: int) -> bool:
        own = self.public_url
        if own is None or self.allows_name(host):
            return False
        return (_plain(host), port) == (_plain(own.raw_host or ""), own.port)


def _plain(host: str) -> str:
    return host.lower().removesuffix(".")


def plain_host(url: URL) -> str:
    """Return the host of a URL from :func:`check_url`, as rules name it."""
    return _plain(url.raw_host or "")


def is_forbidden(address: IPv4Address | IPv6Address, policy: EgressPolicy) -> bool:
    """Return whether the service may not connect to this address."""
    address = _unmapped(address)
    if policy.allow_loopback and any(address in network for network in _LOOPBACK):
        return False
    if policy.allows_name(str(address)) or any(address in n for n in policy.allow_networks):
        return False
    if isinstance(address, IPv6Address) and int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return True
    return any(address in network for network in _DENIED)


def is_local(address: IPv4Address | IPv6Address) -> bool:
    """Return whether the address is one of this machine's own: only those can be bound to.

    Raises OSError if there is no socket to try it with.
    """
    address = _unmapped(address)
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as exc:
        # The last is a link-local address without a zone, which cannot be connected to either.
        if exc.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}:
            return False
        raise
    return True


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def check_url(raw: str) -> URL:
    """Return a caller's URL in the form to call it; raise InvalidUrl.

    It must be absolute, http or https, without user name, and its host a name or an
    address in its usual form. The host is normalised as browsers do (lower case,
    IDNA, full-width digits); path and query are kept byte for byte, the fragment,
    which is never sent, is dropped.
    """
    if len(raw) > MAX_URL_LENGTH:
        raise InvalidUrl(f"The URL is longer than {MAX_URL_LENGTH} characters. Send a shorter one.")
    if _UNSAFE.search(raw):
        raise InvalidUrl(
            "The URL holds white space, a control character or a backslash. Percent-encode it."
        )
    parts = _URL.fullmatch(raw)
    if parts is None:
        raise InvalidUrl
    scheme = parts["scheme"].lower()
    return URL.build(
        scheme=scheme,
        authority=_checked_authority(scheme, parts["authority"]),
        path=quote(parts["path"] or "/", safe=_ASCII),
        query_string=quote(parts["query"] or "", safe=_ASCII),
        encoded=True,
    )


def _checked_authority(scheme: str, authority: str) -> str:
    if "@" in authority:
        raise InvalidUrl("The URL holds a user name or password. Send it without.")
    malformed = InvalidUrl("The host or port of the URL is malformed.")
    if not _PORT.fullmatch(authority):
        raise malformed
    try:
        url = URL(f"{scheme}://{authority}/")
    except ValueError as exc:
        raise malformed from exc
    host = url.raw_host or ""
    if "[" in authority:
        if not _is_address(host, IPv6Address) or "%" in host:
            raise InvalidUrl("The URL holds brackets, but no plain IPv6 address in them.")
    elif not _NAME.fullmatch(host):
        raise InvalidUrl("The URL has no host, or one that is not a host name.")
    elif _NUMERIC.fullmatch(host) and not _is_address(host, IPv4Address):
        raise InvalidUrl("Write the address in the URL as four decimal numbers: 192.0.2.1.")
    if url.explicit_port == 0:
        raise InvalidUrl("The URL has the port 0, which nobody listens on.")
    port = "" if url.explicit_port is None else f":{url.explicit_port}"
    return f"{url.host_subcomponent}{port}"


def _is_address(text: str, kind: type[IPv4Address | IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
