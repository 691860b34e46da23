"""A real S3 server on loopback: OpenStack Swift with its s3api middleware.

Unlike an imitation it checks signatures, checksums and the expiry of links. It is a
plain pip package (``swift``), needs no root, and keeps everything below one folder,
which must lie on a file system with user xattrs (ext4, xfs, btrfs).
"""

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import trustme
from botocore.config import Config
from botocore.session import Session

HOST = "127.0.0.1"
ACCOUNT, USER, SECRET = "test", "tester", "testing"
OTHER_USER, OTHER_SECRET = "other", "othersecret"
REGION = "us-east-1"
START_SECONDS = 30

# Swift has no option that ends it together with the test run, so each of its processes
# asks the kernel to be killed when its parent is (prctl 1 is PR_SET_PDEATHSIG).
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the test run is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

_SWIFT_CONF = """\
[swift-hash]
swift_hash_path_suffix = loopback
swift_hash_path_prefix = loopback
[storage-policy:0]
name = gold
default = yes
"""

_BACKEND_CONF = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
swift_dir = {etc}
devices = {devices}
mount_check = false
disable_fallocate = true
workers = 0
log_level = WARNING
user = {login}
[pipeline:main]
pipeline = healthcheck {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
container_update_timeout = 10
[filter:healthcheck]
use = egg:swift#healthcheck
"""

_PROXY_CONF = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
swift_dir = {etc}
workers = 0
log_level = WARNING
user = {login}
{tls}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo \
dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
user_{account}_{other_user} = {other_secret} .admin
{filters}
"""

_PLAIN_FILTERS = (
    "catch_errors gatekeeper healthcheck listing_formats bulk copy slo dlo versioned_writes symlink"
)


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """Where the server listens and how to sign in."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    ca_file: Path | None  # the private CA of a TLS server

    @cached_property
    def client(self) -> Any:
        """A blocking client for preparing and inspecting buckets."""
        return Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=str(self.ca_file) if self.ca_file else None,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def create_bucket(self, name: str) -> None:
        self.client.create_bucket(Bucket=name)


@contextmanager
def swift_server(folder: Path, *, tls: bool = False) -> Iterator[S3Server]:
    """Run a server that keeps its files in folder; it ends with the context or the test run."""
    _require_xattrs(folder)
    etc, log = folder / "etc", folder / "log"
    for path in (etc, log, folder / "devices" / "d1"):
        path.mkdir(parents=True, exist_ok=True)
    kinds = ("account", "container", "object", "proxy")
    ports = dict(zip(kinds, _free_ports(len(kinds)), strict=True))
    ca_file = _write_certificates(etc) if tls else None
    _write_configuration(etc, folder / "devices", ports, tls=tls)
    _make_rings(etc, ports)
    with ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(_process(kind, etc, log))
        scheme = "https" if tls else "http"
        for kind in kinds:
            backend = f"http://{HOST}:{ports[kind]}"
            url = f"{scheme}://{HOST}:{ports[kind]}" if kind == "proxy" else backend
            _wait_until_healthy(url, ca_file, log / f"{kind}.log")
        yield S3Server(
            endpoint=f"{scheme}://{HOST}:{ports['proxy']}",
            access_key=f"{ACCOUNT}:{USER}",
            secret_key=SECRET,
            region=REGION,
            ca_file=ca_file,
        )


def _require_xattrs(folder: Path) -> None:
    try:
        os.setxattr(folder, "user.imgsvc", b"x" * 2000)
        os.removexattr(folder, "user.imgsvc")
    except OSError as exc:
        pytest.fail(
            f"Swift keeps metadata in user xattrs, which {folder} does not take ({exc.strerror}): "
            "run pytest with --basetemp on ext4, xfs or btrfs"
        )


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _write_certificates(etc: Path) -> Path:
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "localhost")
    certificate.private_key_pem.write_to_path(etc / "key.pem")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (etc / "cert.pem").write_bytes(chain)
    authority.cert_pem.write_to_path(etc / "ca.pem")
    return etc / "ca.pem"


def _write_configuration(etc: Path, devices: Path, ports: dict[str, int], *, tls: bool) -> None:
    login = pwd.getpwuid(os.getuid()).pw_name
    (etc / "swift.conf").write_text(_SWIFT_CONF)
    for kind in ("account", "container", "object"):
        text = _BACKEND_CONF.format(
            host=HOST, port=ports[kind], etc=etc, devices=devices, kind=kind, login=login
        )
        (etc / f"{kind}-server.conf").write_text(text)
    proxy = _PROXY_CONF.format(
        host=HOST,
        port=ports["proxy"],
        etc=etc,
        login=login,
        tls=f"cert_file = {etc}/cert.pem\nkey_file = {etc}/key.pem" if tls else "",
        region=REGION,
        account=ACCOUNT,
        user=USER,
        secret=SECRET,
        other_user=OTHER_USER,
        other_secret=OTHER_SECRET,
        filters="\n".join(
            f"[filter:{name}]\nuse = egg:swift#{name}" for name in _PLAIN_FILTERS.split()
        ),
    )
    (etc / "proxy-server.conf").write_text(proxy)


def _make_rings(etc: Path, ports: dict[str, int]) -> None:
    """Write the three rings: one device, one replica, eight partitions' power of two."""
    # only needed to start, and slow; Swift carries no types
    from swift.common.ring import RingBuilder  # type: ignore[import-untyped]  # noqa: PLC0415

    for kind in ("account", "container", "object"):
        builder = RingBuilder(part_power=8, replicas=1, min_part_hours=1)
        device = {
            "region": 1,
            "zone": 1,
            "ip": HOST,
            "port": ports[kind],
            "device": "d1",
            "weight": 1,
        }
        builder.add_dev({**device, "replication_ip": HOST, "replication_port": ports[kind]})
        builder.rebalance()
        builder.get_ring().save(str(etc / f"{kind}.ring.gz"))


@contextmanager
def _process(kind: str, etc: Path, log: Path) -> Iterator[None]:
    program = shutil.which(f"swift-{kind}-server", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.fail("Swift is not installed: pip install -e .[dev]")
    command = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid())]
    command += [program, str(etc / f"{kind}-server.conf"), "-v"]
    with (log / f"{kind}.log").open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.kill()  # its data is thrown away, so it need not end tidily
        process.wait()


def _wait_until_healthy(url: str, ca_file: Path | None, log: Path) -> None:
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            opener.open(f"{url}/healthcheck", timeout=2).close()
        except (OSError, urllib.error.URLError):
            if time.monotonic() > deadline:
                pytest.fail(f"Swift did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        else:
            return
