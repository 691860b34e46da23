from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from imgsvc.callbacks import EgressPolicy, check_url, is_forbidden
from imgsvc.errors import ForbiddenUrl, InvalidUrl

STRICT = EgressPolicy()
UNSPECIFIED = "0.0.0.0"  # noqa: S104 - asked about, not bound to


# -- the URL as written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "checked"),
    [
        ("https://example.com/hook", "https://example.com/hook"),
        ("HTTP://Example.COM/Hook", "http://example.com/Hook"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com?x=1", "http://example.com/?x=1"),
        ("http://example.com:8080/", "http://example.com:8080/"),
        ("http://example.com./", "http://example.com./"),
        ("http://my_service:80/", "http://my_service/"),
        ("http://example.com/a/../b//%2e%7e?q=%2f+;&r#part", "http://example.com/a/../b//%2e%7e?q=%2f+;&r"),
        ("http://example.com/ü?ü", "http://example.com/%C3%BC?%C3%BC"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://ⓔxample.com/", "http://example.com/"),
        ("http://EXAMPLE.com。/", "http://example.com./"),
        ("http://\uff2c\uff2f\uff23\uff21\uff2c\uff28\uff2f\uff33\uff34/", "http://localhost/"),
        ("http://_dmarc.example.com/", "http://_dmarc.example.com/"),
        ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
        ("http://192.0.2.1:1/", "http://192.0.2.1:1/"),
        ("http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/", "http://127.0.0.1/"),
        ("http://127。0。0。1/", "http://127.0.0.1/"),
        ("http://[2001:DB8:0:0::1]/", "http://[2001:db8::1]/"),
        ("http://[0:0::1]:9/", "http://[::1]:9/"),
        ("http://example.com/@x:y", "http://example.com/@x:y"),
    ],
)  # fmt: skip
def test_a_good_url_is_normalised_in_its_host_alone(raw: str, checked: str) -> None:
    assert str(check_url(raw)) == checked


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "example.com/hook",
        "//example.com/hook",
        "/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http:example.com",
        "http:/example.com",
        "http:///hook",
        "http://",
        "http://?x",
        "http://:80/",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com\\.internal/",
        " http://example.com/",
        "http://example.com/ ",
        "http://exam ple.com/",
        "http://example.com/a b",
        "http://example.com/\r\nX-Injected: 1",
        "http://example.com/\n",
        "http://exam\tple.com/",
        "http://example.com/\x00",
        "http://example.com/\x7f",
        "http://example.com/\u2028",
        "http://example.com/\udc80",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.1./",
        "http://127.0.0.256/",
        "http://1.2.3.4.5/",
        "http://example.0x1/",
        "http://0/",
        "http://0177.1/",
        "http://0x7f.1/",
        "http://00000000177.0.0.1/",
        "http://127.0.0.01/",
        "http://4294967296/",
        "http://\uff10\uff58\uff17\uff46.1/",
        "http://\uff12\uff11\uff13\uff10\uff17\uff10\uff16\uff14\uff13\uff13/",
        "http://\u2460\u2461\u2466.1/",
        "http://\u0661\u0662\u0667.1/",
        "http://0x/",
        "http://\uff11\uff12\uff17.\uff11/",
        "http://%31%32%37.0.0.1/",
        "http://exam%70le.com/",
        "http://[::1%25lo]/",
        "http://[fe80::1%eth0]/",
        "http://[fe80::1%25eth0]/",
        "http://[2606:4700::1%251]/",
        "http://[127.0.0.1]/",
        "http://[v1.x]/",
        "http://[::1/",
        "http://::1/",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://example.com:+80/",
        "http://example.com:-80/",
        "http://example.com:8_0/",
        "http://example.com:\u0668\u0660/",
        "http://example.com:\uff18\uff10/",
        "http://example.com:80:80/",
        "http://[2606:4700::1]:+80/",
        "http://example.com:x/",
        "http://a..b/",
        "http://.example.com/",
        "http://exam'ple.com/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 127 + "com/",
        "http://example.com/" + "a" * 2048,
    ],
)
def test_anything_else_is_an_invalid_url(raw: str) -> None:
    with pytest.raises(InvalidUrl):
        check_url(raw)


@given(raw=st.text() | st.builds("http://{}/{}".format, st.text(), st.text()))
def test_no_text_upsets_the_check_and_what_passes_stays_as_it_is(raw: str) -> None:
    try:
        url = check_url(raw)
    except InvalidUrl:
        return
    assert str(url).isascii()
    assert check_url(str(url)) == url


@given(
    number=st.integers(0, 2**32 - 1),
    write=st.sampled_from([str, hex, "0{:o}".format, "0x{:08X}".format, "{}.".format]),
)
def test_an_ipv4_address_written_as_one_number_is_invalid(
    number: int, write: Callable[[int], str]
) -> None:
    with pytest.raises(InvalidUrl):
        check_url(f"http://{write(number)}/")


# -- addresses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        UNSPECIFIED,
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "::ffff:168.63.129.16",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "2606:4700::5efe:10.0.0.1",
        "2606:4700::5efe:8.8.8.8",
        "2606:4700::200:5efe:127.0.0.1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_addresses_off_the_public_internet_are_forbidden(address: str) -> None:
    assert is_forbidden(ip_address(address), STRICT)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "168.63.129.17",
        "172.15.255.255",
        "172.32.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2606:4700:4700::5efe:1",  # the mark of ISATAP, but elsewhere
        "2606:4700:4700:5efe::1",
        "2a00:1450:4001::1",
    ],
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert not is_forbidden(ip_address(address), STRICT)


@given(address=st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_the_standard_library_calls_not_global_is_forbidden(
    address: IPv4Address | IPv6Address,
) -> None:
    assert address.is_global or is_forbidden(address, STRICT) or _mapped_public(address)


def _mapped_public(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv6Address) and bool(address.ipv4_mapped)


@given(address=st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_when_mapped_into_ipv6(address: IPv4Address) -> None:
    mapped = ip_address(f"::ffff:{address}")
    assert is_forbidden(mapped, STRICT) == is_forbidden(address, STRICT)


@pytest.mark.parametrize(
    ("policy", "address", "forbidden"),
    [
        (EgressPolicy(allow_loopback=True), "127.0.0.1", False),
        (EgressPolicy(allow_loopback=True), "127.9.9.9", False),
        (EgressPolicy(allow_loopback=True), "::1", False),
        (EgressPolicy(allow_loopback=True), "::ffff:127.0.0.1", False),
        (EgressPolicy(allow_loopback=True), UNSPECIFIED, True),
        (EgressPolicy(allow_loopback=True), "::", True),
        (EgressPolicy(allow_loopback=True), "10.0.0.1", True),
        (EgressPolicy(allow_networks=(ip_network("10.1.0.0/16"),)), "10.1.2.3", False),
        (EgressPolicy(allow_networks=(ip_network("10.1.0.0/16"),)), "::ffff:10.1.2.3", False),
        (EgressPolicy(allow_networks=(ip_network("10.1.0.0/16"),)), "10.2.0.1", True),
        (EgressPolicy(allow_networks=(ip_network("fd12::/16"),)), "fd12::1", False),
        (EgressPolicy(allow_networks=(ip_network("fd12::/16"),)), "fd13::1", True),
        (EgressPolicy(allow_hosts=frozenset({"10.0.0.1"})), "10.0.0.1", False),
        (EgressPolicy(allow_hosts=frozenset({"10.0.0.1"})), "10.0.0.2", True),
    ],
)
def test_the_configuration_opens_just_what_it_names(
    policy: EgressPolicy, address: str, forbidden: bool
) -> None:
    assert is_forbidden(ip_address(address), policy) is forbidden


@pytest.mark.parametrize(
    ("host", "policy", "allowed"),
    [
        ("example.com", STRICT, True),
        ("internal", STRICT, True),  # judged by its addresses, later
        ("8.8.8.8", STRICT, True),
        ("10.0.0.1", STRICT, False),
        ("::1", STRICT, False),
        ("127.0.0.1", EgressPolicy(allow_loopback=True), True),
        ("localhost", STRICT, False),
        ("LOCALHOST.", STRICT, False),
        ("app.localhost", STRICT, False),
        ("A.B.LocalHost.", STRICT, False),
        ("ⓛocalhost", STRICT, False),
        ("127。0。0。1", STRICT, False),
        ("notlocalhost", STRICT, True),
        ("localhost", EgressPolicy(allow_loopback=True), True),
        ("localhost", EgressPolicy(allow_hosts=frozenset({"localhost"})), True),
        ("10.0.0.1", EgressPolicy(allow_hosts=frozenset({"10.0.0.1"})), True),
    ],
)
def test_a_host_that_gives_itself_away_is_refused_at_once(
    host: str, policy: EgressPolicy, allowed: bool
) -> None:
    url = check_url(f"http://[{host}]/" if ":" in host else f"http://{host}/")
    if allowed:
        policy.check(url)
    else:
        with pytest.raises(ForbiddenUrl):
            policy.check(url)


# -- what is refused whatever the address ------------------------------------------------

ELSEWHERE = "https://images.example.com/service"


@pytest.mark.parametrize(
    ("policy", "url", "allowed"),
    [
        (STRICT, "http://example.com/", True),
        (STRICT, "https://example.com/", True),
        (STRICT, "http://example.com:8080/", True),
        (STRICT, "http://example.com:65535/", True),
        (STRICT, "http://example.com:22/", False),
        (STRICT, "https://example.com:25/", False),
        (STRICT, "http://example.com:1023/", False),
        (EgressPolicy(ports=(range(443, 444),)), "https://example.com/", True),
        (EgressPolicy(ports=(range(443, 444),)), "http://example.com:443/", True),
        (EgressPolicy(ports=(range(443, 444),)), "http://example.com/", False),
        (EgressPolicy(ports=(range(443, 444),)), "https://example.com:8443/", False),
        (EgressPolicy(ports=()), "https://example.com/", False),
        (EgressPolicy(require_https=True), "https://example.com/", True),
        (EgressPolicy(require_https=True), "HTTPS://example.com/", True),
        (EgressPolicy(require_https=True), "http://example.com/", False),
        (EgressPolicy(require_https=True), "http://example.com:443/", False),
        (EgressPolicy(require_https=True, allow_loopback=True), "http://127.0.0.1:8080/", False),
    ],
)
def test_schemes_and_ports_are_refused_for_every_host(
    policy: EgressPolicy, url: str, allowed: bool
) -> None:
    named = replace(policy, allow_hosts=frozenset({"example.com", "127.0.0.1"}))
    for one in (policy, named):
        if allowed:
            one.check(check_url(url))
        else:
            with pytest.raises(ForbiddenUrl):
                one.check(check_url(url))


OPEN = EgressPolicy(
    allow_loopback=True,
    allow_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")),
    allow_hosts=frozenset({"localhost", "127.0.0.1", "::1"}),
    own_port=8000,
)
"""Allows whatever can be allowed."""


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/jobs",
        "http://127.8.8.8:8000/",
        "https://127.0.0.1:8000/",
        "http://localhost:8000/",
        "http://LOCALHOST.:8000/",
        "http://app.localhost:8000/",
        "http://127。0。0。1:8000/",
        "http://[::ffff:127.0.0.1]:8000/",
        "http://[::ffff:7f00:1]:8000/",
        "http://[::1]:8000/",
        f"http://{UNSPECIFIED}:8000/",
        "http://[::]:8000/",
    ],
)
def test_the_servers_own_port_is_refused_even_if_loopback_is_allowed(url: str) -> None:
    with pytest.raises(ForbiddenUrl, match="this server itself"):
        OPEN.check(check_url(url))
    OPEN.check(check_url(url.replace("8000", "8001")))


def test_the_own_port_of_another_machine_is_allowed() -> None:
    EgressPolicy(own_port=8000).check(check_url("http://8.8.8.8:8000/"))


@pytest.mark.parametrize(
    ("public", "url", "allowed"),
    [
        (ELSEWHERE, "https://images.example.com/jobs", False),
        (ELSEWHERE, "https://IMAGES.Example.com.:443/", False),
        (ELSEWHERE, "https://\uff49mages.example。com/", False),
        (ELSEWHERE, "https://images.example.com:8443/", True),
        (ELSEWHERE, "https://example.com/", True),
        ("https://Bücher.example", "https://xn--bcher-kva.example/", False),
        ("https://xn--bcher-kva.example", "https://BÜCHER.example/", False),
        ("http://8.8.8.8:8080", "http://8.8.8.8:8080/", False),
        ("http://[2606:4700::1]", "http://[2606:4700:0:0::1]:80/", False),
    ],
)
def test_the_servers_public_url_is_refused(public: str, url: str, allowed: bool) -> None:
    policy = EgressPolicy(allow_loopback=True, public_url=URL(public))
    if allowed:
        policy.check(check_url(url))
        return
    with pytest.raises(ForbiddenUrl, match="this server itself"):
        policy.check(check_url(url))
    name = check_url(url).raw_host or ""
    # What else is behind that name is the operator's to know.
    replace(policy, allow_hosts=frozenset({name.removesuffix(".")})).check(check_url(url))
