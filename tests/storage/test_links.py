from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import LinkExpired, LinkInvalid
from imgsvc.storage.links import LinkSigner

NOW = 1_800_000_000


def signer(now: float = NOW, signing_key: bytes = b"k" * 32) -> LinkSigner:
    return LinkSigner(signing_key=signing_key, base_url="http://host:1/", clock=lambda: now)


def link(key: str = "a b/ü+%.png", expires_in: int = 60) -> tuple[str, str, str, str]:
    url = urlsplit(signer().url("results", key, expires_in=expires_in))
    _, files, bucket, quoted = url.path.split("/", 3)
    assert (url.scheme, url.netloc, files) == ("http", "host:1", "files")
    query = parse_qs(url.query)
    return bucket, unquote(quoted), query["expires"][0], query["signature"][0]


def test_a_link_is_good_until_its_time_is_over() -> None:
    bucket, key, expires, signature = link()
    assert (bucket, key, expires) == ("results", "a b/ü+%.png", str(NOW + 60))
    signer(NOW + 59.9).verify(bucket, key, expires=expires, signature=signature)
    with pytest.raises(LinkExpired):
        signer(NOW + 60).verify(bucket, key, expires=expires, signature=signature)


@pytest.mark.parametrize(
    "changed",
    [
        {"bucket": "other"},
        {"key": "other"},
        {"expires": str(NOW + 61)},
        {"expires": f" {NOW + 60}"},
        {"expires": f"+{NOW + 60}"},
        {"expires": "٣"},
        {"expires": ""},
        {"expires": "9" * 5000},
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "é" * 64},
        {"signature": "\ud800"},
        {"key": "\ud800"},
    ],
)
def test_a_link_with_anything_changed_is_invalid(changed: dict[str, str]) -> None:
    bucket, key, expires, signature = link()
    fields = {"bucket": bucket, "key": key, "expires": expires, "signature": signature} | changed
    with pytest.raises(LinkInvalid):
        signer().verify(
            fields["bucket"],
            fields["key"],
            expires=fields["expires"],
            signature=fields["signature"],
        )


def test_a_link_of_another_server_is_invalid() -> None:
    bucket, key, expires, signature = link()
    with pytest.raises(LinkInvalid):
        signer(signing_key=b"o" * 32).verify(bucket, key, expires=expires, signature=signature)


@given(st.text(), st.text(), st.text(), st.text())
def test_no_invented_link_is_taken(bucket: str, key: str, expires: str, signature: str) -> None:
    with pytest.raises(LinkInvalid):
        signer().verify(bucket, key, expires=expires, signature=signature)
