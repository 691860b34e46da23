"""Attacks by callers without a key, with a wrong one, or with one for something else."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Iterator

import jwt
from cryptography.hazmat.primitives import serialization

from attack_target import ASYNC, CANARY, IMAGE, PER_MINUTE, Target, filled, inputs
from imgsvc.web.auth.api_keys import new_key
from imgsvc.web.auth.roles import Role
from web.auth import test_tokens
from web.auth.issuing import Issuer


async def without_a_key(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Ask for everything that is not public."""
    for method, path, is_public in await target.operations():
        if not is_public:
            answer = await target.ask(method, filled(path))
            yield f"{method} {path}", answer.code == "credentials_missing"


async def wrong_keys(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Ask with keys that are cut, mixed, made up, expired, revoked, or anything but a key."""
    good, other = target.keys["good"], new_key("ann", [Role.READ])[1]
    wrong = {
        **{name: key for name, key in target.keys.items() if name != "good"},
        "cut": good[:-1],
        "longer": f"{good}x",
        "capitals": good.upper(),
        "last letter": good[:-1] + ("a" if good[-1] != "a" else "b"),
        "another secret": good[:17] + other[17:],
        "made up": other,
        "twice": f"{good},{good}",
        "prefix": "imgsvc_",
        "sql": "' OR 1=1 --",
        "30 kB": "x" * 30_000,
        "secret alone": good.split("_", 2)[2],
        "beyond ASCII": "ключ",
    }
    for name, key in wrong.items():
        for header in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
            answer = await target.ask("GET", "/jobs", header, source=target.address())
            yield name, answer.code == "credentials_invalid"
    for name, pairs in {
        "two headers": [("X-API-Key", good), ("Authorization", f"Bearer {good}")],
        "two keys": [("X-API-Key", good), ("X-API-Key", good)],
    }.items():
        yield name, (await target.ask("GET", "/jobs", pairs)).code == "credentials_ambiguous"
    yield "in the query", (await target.ask("GET", f"/usage?api_key={good}")).status == 401
    megabyte = await target.ask("GET", "/jobs", {"Authorization": f"Bearer {'x' * 2**20}"})
    yield "1 MB", megabyte.status in {400, 401, 431}


def _forged(issuer: Issuer) -> Iterator[tuple[str, str]]:
    claims = inputs(test_tokens.test_a_token_with_wrong_claims_is_not_taken, "change")
    for change in claims:
        payload = json.dumps(issuer.claims(**change)).encode()
        headers = {"kid": issuer.kid}
        signed = jwt.api_jws.encode(payload, issuer.key, algorithm="RS256", headers=headers)
        yield f"claims {change}"[:60], signed
    for header in inputs(test_tokens.test_a_token_with_an_odd_header_is_not_taken, "header"):
        yield f"header {header}"[:60], issuer.token(header=header)
    head, body, signature = issuer.token(scope="admin").split(".")
    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for algorithm in ("none", "None", "nOnE", "HS256", "PS256", "ES256"):
        part = {"alg": algorithm, "typ": "JWT", "kid": issuer.kid}
        text = f"{_segment(json.dumps(part).encode())}.{body}"
        yield f"{algorithm}, unsigned", f"{text}."
        yield f"{algorithm}, signed as RS256", f"{text}.{signature}"
        mac = hmac.digest(public, text.encode(), "sha256")
        yield f"{algorithm}, with the public key as a secret", f"{text}.{_segment(mac)}"
    eve = Issuer()
    yield "another's key", eve.token()
    yield "another's key inside", eve.token(header={"jwk": eve.public()})
    yield "without a signature", f"{head}.{body}."
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{head}.{body}.{signature}.{signature}"
    yield "empty parts", ".."


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def forged_tokens(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Ask with tokens that the issuer has not made so, or not for this."""
    for name, token in _forged(target.issuer):
        headers = {"Authorization": f"Bearer {token}"}
        answer = await target.ask("GET", "/jobs", headers, source=target.address())
        yield name, answer.code == "credentials_invalid"


async def brute_force(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Try keys, one after the other, from one address: few are looked at."""
    source, looked_at = target.address(), 0
    for number in range(500):
        headers = {"X-API-Key": new_key("ann", [Role.READ])[1]}
        answer = await target.ask("GET", "/jobs", headers, source=source)
        looked_at += answer.status == 401
        yield f"try {number}", answer.status in {401, 429} and looked_at <= 20


async def others_jobs(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Ask for a job of another client, in every way there is."""
    headers = {"X-API-Key": target.keys["good"]} | ASYNC
    job_id = (await target.submit(headers, image_base64=IMAGE)).body["job_id"]
    bob = target.token("bob", (Role.SUBMIT, Role.READ))
    routes = [each for each in await target.operations() if "{job_id}" in each[1]]
    for method, path, _ in routes:
        for written in (job_id, job_id.upper(), f"{job_id}%20", f"./{job_id}", f"%2e/{job_id}"):
            answer = await target.ask(method, filled(path, written), bob)
            code = {"job_not_found", "not_found", "role_missing"}
            yield f"{method} {path}", answer.code in code
    listed = (await target.ask("GET", "/jobs", bob)).body["jobs"]
    yield "GET /jobs", job_id not in [job["job_id"] for job in listed]


async def limits_of_a_client(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Ask for more than a client may have, over many connections, and for what it may not."""
    hasty = [target.token("hasty", roles) for roles in ((Role.READ,), tuple(Role))]
    asked = [target.ask("GET", "/jobs", hasty[n % 2]) for n in range(PER_MINUTE + 100)]
    statuses = [answer.status for answer in await asyncio.gather(*asked)]
    for number, status in enumerate(sorted(statuses)[PER_MINUTE:]):
        yield f"request {number} past the limit", status == 429
    held = target.token("held", tuple(Role))
    batch = "/batch-process-images"
    url = "http://hooks.example.eve.example/"
    good = {"callbackUrl": "http://hooks.example/"}
    answers = {
        "priority": await target.submit(held | good, image_base64=IMAGE, priority=4),
        "callbackUrl": await target.submit(held | {"callbackUrl": url}, image_base64=IMAGE),
        "progressUrl": await target.submit(held | good | {"progressUrl": url}, batch),
        "input bucket": await target.submit(held | good, batch),
        "dry run": await target.submit(held, batch, dry_run=True),
        "folder above": await target.submit(held, batch, input_prefix="held/../", dry_run=True),
    }
    for name, answer in answers.items():
        yield name, answer.code in {"not_allowed_for_client", "invalid_request"}


async def secrets(target: Target) -> AsyncIterator[tuple[str, bool]]:
    """Ask for everything, with each role and with all, and look for secrets in the answers."""
    admin = target.token("held", tuple(Role))
    job_id = (await target.submit(admin | ASYNC, image_base64=IMAGE)).body["job_id"]
    hidden = [CANARY, CANARY.removeprefix("whsec_"), "canary-of-the-signing-secret"]
    hidden += [key.split("_", 2)[2] for key in target.keys.values()]
    for method, path, _ in await target.operations():
        if path.endswith("/events"):
            continue  # a stream
        for roles in (*((role,) for role in Role), tuple(Role)):
            headers = target.token("held", roles)
            answer = await target.ask(method, filled(path, job_id), headers)
            told = answer.told.decode(errors="replace")
            yield f"{method} {path}", not any(secret in told for secret in hidden)
