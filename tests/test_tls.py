"""The server speaks TLS with a certificate that may change under it."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
import trustme
from cryptography.hazmat.primitives import serialization
from yarl import URL

from imgsvc import tls
from imgsvc.config import Settings
from imgsvc.errors import ConfigurationError
from standins.service import Caller, running_service


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def issue(authority: trustme.CA, folder: Path) -> dict[str, str]:
    """Write a new certificate and its key, and return the settings that name them."""
    made = authority.issue_cert("127.0.0.1")
    chain, key = folder / "tls.crt", folder / "tls.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return {"tls_cert": str(chain), "tls_key": str(key)}


async def hello(
    caller: Caller, authority: trustme.CA, version: ssl.TLSVersion | None = None
) -> str:
    """Connect anew, ask, and return the certificate's serial number."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if version is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
    url = URL(caller.server.url)
    assert url.scheme == "https"
    reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nStrict-Transport-Security: max-age=31536000\r\n" in answer
    serial = str(writer.get_extra_info("peercert")["serialNumber"])
    writer.close()
    return serial


async def logged(lines: list[structlog.typing.EventDict], event: str) -> None:
    while not any(line["event"] == event for line in lines):  # noqa: ASYNC110 - the log has no event
        await asyncio.sleep(0.01)


async def test_a_certificate_is_read_again_when_it_changes_and_a_broken_one_is_not_used(
    make_settings: Callable[..., Settings],
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls, "LOOK_INTERVAL", 0.05)
    async with running_service(make_settings(server=issue(authority, tmp_path))) as caller:
        first = await hello(caller, authority)
        with structlog.testing.capture_logs() as lines:
            (tmp_path / "tls.crt").write_text("broken")
            await logged(lines, "certificate_not_reloaded")
            assert await hello(caller, authority) == first
            issue(authority, tmp_path)
            await logged(lines, "certificate_reloaded")
        assert await hello(caller, authority) != first


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_of_tls_and_plain_http_get_no_answer(
    make_settings: Callable[..., Settings], authority: trustme.CA, tmp_path: Path
) -> None:
    async with running_service(make_settings(server=issue(authority, tmp_path))) as caller:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await hello(caller, authority, ssl.TLSVersion.TLSv1_1)
        assert await hello(caller, authority, ssl.TLSVersion.TLSv1_2)
        url = URL(caller.server.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP" not in await reader.read()
        writer.close()


async def test_a_handshake_that_does_not_go_on_is_cut_off(
    make_settings: Callable[..., Settings], authority: trustme.CA, tmp_path: Path
) -> None:
    server = issue(authority, tmp_path) | {"header_timeout": "0.2"}
    async with running_service(make_settings(server=server)) as caller:
        url = URL(caller.server.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        assert await reader.read() == b""
        writer.close()


def encrypted(pem: bytes) -> bytes:
    how = serialization.BestAvailableEncryption(b"phrase")
    form = serialization.PrivateFormat.PKCS8
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(serialization.Encoding.PEM, form, how)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tls.crt", None, r"cannot read \S+tls\.crt \(No such file"),
        ("tls.key", None, r"cannot read \S+tls\.key \(No such file"),
        ("tls.crt", b"", r"server\.tls_cert: \S+tls\.crt is no certificate as PEM"),
        ("tls.crt", b"broken", r"server\.tls_cert: \S+tls\.crt is no certificate as PEM"),
        ("tls.key", b"", r"server\.tls_key: \S+tls\.key is no private key as PEM"),
        ("tls.key", b"broken", r"server\.tls_key: \S+tls\.key is no private key as PEM"),
        ("tls.key", encrypted, r"server\.tls_key: \S+tls\.key has a pass phrase"),
        (
            "tls.key",
            lambda _: trustme.CA().issue_cert("a.example").private_key_pem.bytes(),
            r"the key in \S+tls\.key does not belong to the certificate in \S+tls\.crt",
        ),
    ],
)
async def test_files_that_cannot_be_used_keep_the_server_from_starting_and_it_says_which(
    make_settings: Callable[..., Settings],
    authority: trustme.CA,
    tmp_path: Path,
    file: str,
    content: bytes | Callable[[bytes], bytes] | None,
    said: str,
) -> None:
    server = issue(authority, tmp_path)
    content = content((tmp_path / file).read_bytes()) if callable(content) else content
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        async with running_service(make_settings(server=server)):
            pass
