"""`imgsvc check` finds what keeps a server from being safe in public, or from starting at all."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from cli.commands import Command
from imgsvc.cli.check import check
from standins.configuration import toml
from web.auth.issuing import AUDIENCE, ISSUER, Issuer, key_server

Check = Callable[[str], list[str]]
TOKENS = f'mode = "jwt"\njwt_issuer = "{ISSUER}"\njwt_audience = "{AUDIENCE}"'


@pytest.fixture
def checked(command: Command) -> Check:
    """Return a function that checks a configuration, and returns the lines about it."""

    def run(text: str) -> list[str]:
        toml(text)
        done = command("check")
        lines = done.out.splitlines()
        assert done.code == int(any(line.startswith("FAIL") for line in lines)), done.out
        return lines

    return run


def has(lines: list[str], *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in lines)


def issue(
    name: str = "tls", *, not_before: datetime | None = None, not_after: datetime | None = None
) -> str:
    made = trustme.CA().issue_cert("127.0.0.1", not_before=not_before, not_after=not_after)
    made.private_key_pem.write_to_path(f"{name}.key")
    made.cert_chain_pems[0].write_to_path(f"{name}.crt")
    return f'[server]\ntls_cert = "{name}.crt"\ntls_key = "{name}.key"\n'


def test_a_certificate_is_loaded_as_the_server_does_it(checked: Check) -> None:
    now = datetime.now(UTC)
    assert has(checked(issue(not_after=now + timedelta(days=9))), "ok    tls: ", " ends on ")
    ended = issue(not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    assert has(checked(ended), "note  tls: ", " ended on ")
    lines = checked(f'{issue()}public_url = "http://images.example.com"')
    assert has(lines, "note  tls: ", "server.public_url is http://images.example.com")

    issue("other")
    mixed = '[server]\ntls_cert = "tls.crt"\ntls_key = "other.key"'
    assert has(checked(mixed), "FAIL", "does not belong to the certificate")
    toml("garbage", "garbage.pem")
    for cert, key in (("garbage.pem", "tls.key"), ("tls.crt", "garbage.pem"), ("no", "tls.key")):
        lines = checked(f'[server]\ntls_cert = "{cert}"\ntls_key = "{key}"')
        assert has(lines, "FAIL", "server.tls_", cert if cert == "no" else "garbage.pem")


def test_the_file_with_the_issuers_keys_is_read(checked: Check) -> None:
    config = f'[auth]\n{TOKENS}\njwt_jwks_file = "jwks.json"'
    assert has(checked(config), "FAIL", "jwks.json cannot be read")
    for text, said in (("(", "is no JSON Web Key Set"), ('{"keys": []}', "checked with: 0")):
        toml(text, "jwks.json")
        assert has(checked(config), "FAIL", "jwks.json", said)
    toml(json.dumps({"keys": [Issuer().public()]}), "jwks.json")
    assert has(checked(config), "ok", "keys in jwks.json", "checked with: 1")


async def test_the_url_with_the_issuers_keys_is_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with key_server() as server:
        file = toml(
            f'images.processes = 1\n[auth]\n{TOKENS}\njwt_jwks_url = "{server.url}?a=canary"',
            "my.toml",
        )
        for entries, code in (([Issuer().public()], 0), ([], 1)):
            server.show(*entries)
            assert await check(file, connect=True, callback_url=None) == code
        assert "FAIL  auth: the issuer's keys by auth.jwt_jwks_url: " in capsys.readouterr().out
        server.status = 404
        assert await check(file, connect=True, callback_url=None) == 1
    out = capsys.readouterr().out
    assert f"{server.url}: the answer has the status 404" in out
    assert "canary" not in out


def test_settings_of_tokens_without_effect_are_noted(checked: Check) -> None:
    lines = checked('[auth]\nmode = "api_key"\njwt_issuer = "https://a.example"')
    assert has(lines, "note", "auth.mode takes no tokens, so without effect: auth.jwt_issuer")


def test_keys_are_missed_until_there_is_one_and_no_file_is_made(
    checked: Check, command: Command
) -> None:
    config = '[auth]\nmode = "api_key"\n[limits]\nrequests_per_minute = 60\n[clients.ann]\n'
    said = "note  auth: there is no key in force"
    lines = checked(config)
    assert has(lines, said)
    assert has(lines, "ok    limits: of each client requests_per_minute = 60; others for ann")
    assert not Path("imgsvc-data").exists()
    created = command("keys", "create", "--client", "ann", "--roles", "read")
    files = sorted(Path("imgsvc-data").iterdir())
    assert not has(checked(config), said)
    assert sorted(Path("imgsvc-data").iterdir()) == files
    command("keys", "revoke", created.out.split("_")[1])
    assert has(checked(config), said)
    Path("imgsvc-data/jobs.db").write_bytes(b"no database")
    assert not has(checked(config), said)  # it is not known


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('[server]\nhost = "0.0.0.0"', "note  tls: none, so keys and pictures cross the network"),
        ('[server]\nhost = "0.0.0.0"\npublic_url = "https://a.example"', "ok    tls: none here"),
        ("", "ok    tls: none"),
        ("", "note  limits: of each client none"),
        ("", "ok    cors: pages of no other site"),
        ('[server]\ncors_origins = ["https://app.example"]', "cors: pages of https://app.example"),
        ("", "egress: callers' URLs may be http and https, on ports 80, 443, 1024-65535;"),
        (
            """
            [egress]
            require_https = true
            ports = [443]
            proxy = "http://u:canary@p.example:1"
            [callbacks]
            allow_networks = ["10.0.0.0/8"]
            """,
            "https alone, on ports 443, through the proxy; of what is not public: 10.0.0.0/8",
        ),
        ("[egress]\nports = []", "FAIL  egress.ports: should have 1 or more entries"),
    ],
)
def test_a_line_tells_of_each_thing_that_makes_it_safe(
    checked: Check, config: str, said: str
) -> None:
    lines = checked(f'{config}\n[auth]\nmode = "api_key"')
    assert has(lines, said), lines
    assert not has(lines, "canary")


def test_an_audit_file_that_cannot_be_written_is_found_and_none_is_made(checked: Check) -> None:
    Path("folder").mkdir()
    for file, said in (
        ("folder", "FAIL  logs.audit_file: folder is a folder"),
        ("missing/audit.log", "FAIL  logs.audit_file: there is no folder"),
        ("folder/audit.log", "ok    audit log: also in folder/audit.log"),
    ):
        assert has(checked(f'[logs]\naudit_file = "{file}"'), said)
    assert not list(Path("folder").iterdir())
