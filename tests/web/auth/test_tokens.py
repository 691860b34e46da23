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
    ("reason", "change"),
    [
        ("missing_claim", {"exp": None}),
        ("missing_claim", {"aud": None}),
        ("missing_claim", {"iss": None}),
        ("missing_claim", {"sub": None}),
        ("expired", {"exp": NOW - 3600}),
        ("not_yet_valid", {"nbf": NOW + 3600}),
        ("not_yet_valid", {"iat": NOW + 3600}),
        ("wrong_audience", {"aud": "another"}),
        ("wrong_audience", {"aud": [AUDIENCE.upper()]}),
        ("missing_claim", {"aud": []}),
        ("wrong_audience", {"aud": {AUDIENCE: 1}}),
        ("wrong_issuer", {"iss": "https://issuer.example.com"}),
        ("wrong_issuer", {"iss": [ISSUER]}),
        ("wrong_claim", {"exp": str(NOW + 300)}),
        ("expired", {"exp": True}),
        ("malformed", {"exp": float("nan")}),
        ("malformed", {"exp": float("inf")}),
        ("malformed", {"exp": [NOW + 300]}),
        ("wrong_claim", {"nbf": "0"}),
        ("wrong_claim", {"iat": "0"}),
        ("malformed", {"sub": 7}),
        ("malformed", {"sub": ["ann"]}),
        ("malformed", {"pad": "x" * 20_000}),
    ],
    # Without the time: two processes must agree on them.
    ids=lambda given: given if isinstance(given, str) else "-".join(given),
)
async def test_a_token_with_wrong_claims_is_not_taken(
    issuer: Issuer, verifier: TokenVerifier, reason: str, change: dict[str, Any]
) -> None:
    claims = issuer.claims(**change)
    head = segment({"alg": "RS256", "typ": "JWT", "kid": issuer.kid})
    signed = f"{head}.{segment(claims)}"
    algorithm = jwt.get_algorithm_by_name("RS256")
    signature = segment(algorithm.sign(signed.encode(), issuer.key))
    with pytest.raises(CredentialsInvalid) as refused:
        await verifier.verify(f"{signed}.{signature}")
    assert refused.value.reason == reason
    if reason in {"missing_claim", "wrong_claim"}:
        assert refused.value.claim == next(iter(change))


@pytest.mark.parametrize(
    "name",
    [
        "7c9e6679-7425-40de-944b-e37fc0f1c4ae",
        "system:serviceaccount:shop:edit",
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "aBcD1234@clients",
        "https://accounts.example.com/+ann=~me",
        "climate:7",
        "x" * 128,
    ],
)
async def test_a_client_is_called_what_issuers_call_it(
    issuer: Issuer, verifier: TokenVerifier, name: str
) -> None:
    assert (await verifier.verify(issuer.token(sub=name))).client == name


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "ann smith", " ann", "ann\n", "a\nb", "a\x00b", "a\x7fb", "a\u202eb"),
        *("a\u200bb", "\u0430nn", "a\xa0b", "a\ud800b", "cli:root", "CLI:root", "cli:", "x" * 129),
        *("a;b", 'a"b', "<b>", "a\\b", "a\x1b[2J", "a,b", "a%00", "$(id)"),
    ],
)
async def test_a_client_whose_name_could_be_taken_for_another_is_refused(
    issuer: Issuer, verifier: TokenVerifier, name: str
) -> None:
    with pytest.raises(CredentialsInvalid) as refused:
        await verifier.verify(issuer.token(sub=name))
    assert (refused.value.reason, refused.value.claim) == ("client_name", "sub")


async def test_an_expiry_may_have_a_fraction(issuer: Issuer, verifier: TokenVerifier) -> None:
    assert (await verifier.verify(issuer.token(exp=time.time() + 60.5))).client == "ann"


@pytest.mark.parametrize(
    ("reason", "header"),
    [
        ("wrong_type", {"typ": "dpop+jwt"}),
        ("wrong_type", {"typ": "JWE"}),
        ("wrong_type", {"typ": 7}),
        ("malformed", {"crit": ["exp"]}),
        ("unknown_kid", {"kid": "unknown"}),
        ("unknown_kid", {"kid": "../../../../dev/null"}),
        ("unknown_kid", {"kid": "http://127.0.0.1:9/jwks.json"}),
        ("malformed", {"kid": "x" * 257}),
        ("unknown_kid", {"kid": "first' OR '1'='1"}),
        ("unknown_kid", {"jku": "http://127.0.0.1:9/jwks.json", "kid": "theirs"}),
    ],
    ids=str,
)
async def test_a_token_with_an_odd_header_is_not_taken(
    issuer: Issuer, verifier: TokenVerifier, reason: str, header: dict[str, Any]
) -> None:
    with pytest.raises(CredentialsInvalid) as refused:
        await verifier.verify(issuer.token(header=header))
    assert refused.value.reason == reason


async def test_a_key_that_a_token_brings_along_is_not_looked_at(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    eve = Issuer()
    with pytest.raises(CredentialsInvalid) as refused:
        await verifier.verify(eve.token(header={"jwk": eve.public()}))
    assert refused.value.reason == "bad_signature"
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
        for headers in ({"X-API-Key": "nonsense"}, {"Authorization": "Bearer nonsense"}):
            status, problem, _ = await ask(service, "GET", "/jobs", headers)
            assert status == 401
            assert "This key is not known." in problem["detail"]
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
