import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import ConfigurationError, LinkExpired, LinkInvalid
from imgsvc.storage.links import LinkSigner, load_signing_key

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


def test_the_signing_key_is_made_once_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "link-signing.key"
    signing_key = load_signing_key(path)
    assert len(signing_key) == 32
    assert load_signing_key(path) == signing_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_several_that_make_the_signing_key_at_once_agree_on_one(tmp_path: Path) -> None:
    path = tmp_path / "link-signing.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_signing_key, [path] * 8))
    assert len(keys) == 1


def test_a_damaged_signing_key_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "link-signing.key"
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match=r"link-signing\.key.*damaged"):
        load_signing_key(path)


def test_a_data_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="data_dir") as caught:
        load_signing_key(tmp_path / "file" / "link-signing.key")
    assert str(tmp_path) not in str(caught.value)
