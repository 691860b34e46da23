"""Tokens of an issuer, and of those who would like to be one."""

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from pydantic import ValidationError

from imgsvc.errors import CredentialsInvalid
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.auth.principal import Proof
from imgsvc.web.auth.roles import Role
from imgsvc.web.auth.tokens import TokenVerifier, open_token_verifier
from web.auth.callers import ask, guarded_service, key_of
from web.auth.issuing import AUDIENCE, ISSUER, Issuer

NOW = int(time.time())
JWT: dict[str, Any] = {"mode": "jwt", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def keys(issuer: Issuer, tmp_path: Path) -> Path:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [issuer.public()]}))
    return file


@pytest.fixture
async def verifier(keys: Path) -> AsyncIterator[TokenVerifier]:
    config = AuthConfig.model_validate(JWT | {"jwt_jwks_file": keys})
    async with open_token_verifier(config) as opened:
        assert opened is not None
        yield opened


def segment(document: Any) -> str:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def unsigned(issuer: Issuer, signature: str = "", **header: Any) -> str:
    return f"{segment({'typ': 'JWT', **header})}.{segment(issuer.claims())}.{signature}"


async def test_a_token_says_who_it_is_and_what_they_may_do(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    token = issuer.token(scope="openid read submit reader", aud=["other", AUDIENCE])
    principal = await verifier.verify(token)
    assert (principal.client, principal.proof, principal.key_id) == ("ann", Proof.JWT, None)
    assert principal.roles == {Role.READ, Role.SUBMIT}


@pytest.mark.parametrize(
    ("scope", "roles"),
    [
        (["read", "operate", 7, None, ["admin"]], {Role.READ, Role.OPERATE}),
        ("", set()),
        (None, set()),
        (7, set()),
        ({"admin": True}, set()),
        (True, set()),
        ("admin,read", set()),
    ],
)
async def test_roles_come_from_words_or_a_list_and_nothing_else(
    issuer: Issuer, verifier: TokenVerifier, scope: Any, roles: set[Role]
) -> None:
    assert (await verifier.verify(issuer.token(scope=scope))).roles == roles


@pytest.mark.parametrize(
    "change",
    [
        {"exp": None},
        {"aud": None},
        {"iss": None},
        {"sub": None},
        {"exp": NOW - 3600},
        {"nbf": NOW + 3600},
        {"iat": NOW + 3600},
        {"aud": "another"},
        {"aud": [AUDIENCE.upper()]},
        {"aud": []},
        {"aud": {AUDIENCE: 1}},
        {"iss": "https://issuer.example.com"},
        {"iss": [ISSUER]},
        {"exp": str(NOW + 300)},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": [NOW + 300]},
        {"nbf": "0"},
        {"iat": "0"},
        {"sub": ""},
        {"sub": 7},
        {"sub": ["ann"]},
        {"sub": "a\nb"},
        {"sub": " ann"},
        {"sub": "ann "},
        {"sub": "cli:root"},
        {"sub": "x" * 129},
        {"pad": "x" * 20_000},
    ],
    ids="-".join,  # without the time: two processes must agree on them
)
async def test_a_token_with_wrong_claims_is_not_taken(
    issuer: Issuer, verifier: TokenVerifier, change: dict[str, Any]
) -> None:
    claims = issuer.claims(**change)
    head = segment({"alg": "RS256", "typ": "JWT", "kid": issuer.kid})
    signed = f"{head}.{segment(claims)}"
    algorithm = jwt.get_algorithm_by_name("RS256")
    signature = segment(algorithm.sign(signed.encode(), issuer.key))
    with pytest.raises(CredentialsInvalid):
        await verifier.verify(f"{signed}.{signature}")


async def test_an_expiry_may_have_a_fraction(issuer: Issuer, verifier: TokenVerifier) -> None:
    assert (await verifier.verify(issuer.token(exp=time.time() + 60.5))).client == "ann"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "dpop+jwt"},
        {"typ": "JWE"},
        {"typ": 7},
        {"crit": ["exp"]},
        {"kid": "unknown"},
        {"kid": "../../../../dev/null"},
        {"kid": "http://127.0.0.1:9/jwks.json"},
        {"kid": "x" * 257},
        {"kid": "first' OR '1'='1"},
        {"jku": "http://127.0.0.1:9/jwks.json", "kid": "theirs"},
    ],
    ids=str,
)
async def test_a_token_with_an_odd_header_is_not_taken(
    issuer: Issuer, verifier: TokenVerifier, header: dict[str, Any]
) -> None:
    with pytest.raises(CredentialsInvalid):
        await verifier.verify(issuer.token(header=header))


async def test_a_key_that_a_token_brings_along_is_not_looked_at(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    eve = Issuer()
    with pytest.raises(CredentialsInvalid):
        await verifier.verify(eve.token(header={"jwk": eve.public()}))
    assert (await verifier.verify(issuer.token(header={"jwk": eve.public()}))).client == "ann"


async def test_a_token_that_is_not_signed_by_the_issuer_is_not_taken(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    good = issuer.token()
    head, body, signature = good.split(".")
    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    hs256 = jwt.get_algorithm_by_name("HS256")
    by_hand = unsigned(issuer, alg="HS256", kid=issuer.kid).rstrip(".")
    mac = segment(hs256.sign(by_hand.encode(), public))
    for forged in (
        unsigned(issuer, alg="none"),
        unsigned(issuer, alg="None", kid=issuer.kid),
        unsigned(issuer, alg="nOnE", kid=issuer.kid),
        unsigned(issuer, signature, alg="none", kid=issuer.kid),
        unsigned(issuer, kid=issuer.kid),
        unsigned(issuer, alg=["RS256"], kid=issuer.kid),
        unsigned(issuer, signature, alg="RS256", kid=issuer.kid),
        unsigned(issuer, signature, alg="PS256", kid=issuer.kid),
        unsigned(issuer, signature, alg="ES256", kid=issuer.kid),
        f"{by_hand}.{mac}",
        Issuer().token(),
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{segment(issuer.claims(sub='eve'))}.{signature}",
        f"{good}.{signature}",
        f"{segment({'alg': 'RS256', 'cty': 'JWT'})}.{segment(good.encode())}.{signature}",
        f"{segment(b'[' * 5000)}.{body}.{signature}",
        f"{segment(b'[]')}.{body}.{signature}",
        f"{segment(b'null')}.{body}.{signature}",
        f"{segment(bytes(range(256)))}.{body}.{signature}",
        "",
        "..",
        "x" * 1_000_000,
        "ы" * 20,
    ):
        with pytest.raises(CredentialsInvalid):
            await verifier.verify(forged)
    assert (await verifier.verify(good)).client == "ann"


@pytest.mark.parametrize(
    "change",
    [
        {"jwt_issuer": None},
        {"jwt_audience": None},
        {"jwt_jwks_file": None},
        {"jwt_jwks_url": "https://issuer.example.com/jwks.json"},  # beside the file
        {"jwt_jwks_url": "http://issuer.example.com/jwks.json", "jwt_jwks_file": None},
        {"jwt_jwks_url": "https://a:b@issuer.example.com/", "jwt_jwks_file": None},
        {"jwt_jwks_url": "file:///etc/passwd", "jwt_jwks_file": None},
        {"jwt_algorithms": []},
        {"jwt_algorithms": ["none"]},
        {"jwt_algorithms": ["HS256"]},
        {"jwt_leeway": 3600},
    ],
    ids=str,
)
def test_settings_with_which_tokens_could_be_forged_or_not_checked_are_refused(
    change: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError):
        AuthConfig.model_validate(JWT | {"jwt_jwks_file": "jwks.json"} | change)


async def test_a_server_takes_keys_and_tokens_side_by_side(
    issuer: Issuer, keys: Path, tmp_path: Path
) -> None:
    auth = JWT | {"mode": "api_key,jwt", "jwt_jwks_file": keys, "jwt_role_prefix": "imgsvc:"}
    async with guarded_service(tmp_path / "data", auth=auth) as service:
        key = await key_of(service, "ann", [Role.READ])
        token = issuer.token(scope="imgsvc:read admin")
        for credential in (key, token):
            headers = {"Authorization": f"Bearer {credential}"}
            assert (await ask(service, "GET", "/jobs", headers))[0] == 200
            assert (await ask(service, "GET", "/cos/config", headers))[0] == 403
        expired = {"Authorization": f"Bearer {issuer.token(exp=NOW - 3600)}"}
        status, problem, answered = await ask(service, "GET", "/jobs", expired)
        assert (status, problem["code"]) == (401, "credentials_invalid")
        assert "expired" in problem["detail"]
        assert 'error="invalid_token"' in answered["WWW-Authenticate"]


@pytest.mark.parametrize("mode", ["api_key", "jwt"])
async def test_a_server_takes_only_what_its_mode_names(
    issuer: Issuer, keys: Path, tmp_path: Path, mode: str
) -> None:
    auth = JWT | {"mode": mode, "jwt_jwks_file": keys}
    async with guarded_service(tmp_path / "data", auth=auth) as service:
        statuses = {}
        key = await key_of(service, "ann", [Role.READ])
        for name, credential in (("api_key", key), ("jwt", issuer.token())):
            headers = {"Authorization": f"Bearer {credential}"}
            statuses[name] = (await ask(service, "GET", "/jobs", headers))[0]
    assert statuses == {"api_key": 401, "jwt": 401} | {mode: 200}
