"""A local AWS Secrets Manager: its JSON protocol, and requests that are signed."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from aiohttp import web

_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/\d{8}/(?P<region>[\w-]+)/secretsmanager"
    r"/aws4_request, SignedHeaders=[\w;-]*host[\w;-]*x-amz-target, Signature=[0-9a-f]{64}"
)


class AwsSecretsStandin:
    """What it holds, and how it answers."""

    SECRET: ClassVar = "imgsvc/production"
    REGION: ClassVar = "eu-central-1"
    KEY_ID: ClassVar = "AKIAEXAMPLE"

    def __init__(self) -> None:
        self.url = ""
        self.answer: dict[str, Any] = {"SecretString": "{}"}
        self.failing: tuple[int, str] | None = None  # status and code of every answer from now on
        self.garbage: tuple[int, bytes] | None = None  # status and body, likewise

    @property
    def environment(self) -> dict[str, str]:
        """The variables that have a server read from it."""
        return {
            "AWS_ACCESS_KEY_ID": self.KEY_ID,
            "AWS_SECRET_ACCESS_KEY": "aws-canary",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "IMGSVC_SECRETS__MANAGER": "aws",
            "IMGSVC_SECRETS__ENDPOINT": self.url,
            "IMGSVC_SECRETS__SECRET": self.SECRET,
            "IMGSVC_SECRETS__REGION": self.REGION,
        }

    def hold(self, **entries: object) -> None:
        """Keep these as the JSON object that the secret's text is."""
        self.answer = {"SecretString": json.dumps(entries)}

    async def handle(self, request: web.Request) -> web.Response:
        signed = _SIGNED.fullmatch(request.headers.get("Authorization", ""))
        if signed is None or (signed["key"], signed["region"]) != (self.KEY_ID, self.REGION):
            return _error(400, "UnrecognizedClientException")
        if self.failing is not None:
            return _error(*self.failing)
        if self.garbage is not None:
            status, body = self.garbage
            return web.Response(status=status, body=body)
        if request.headers["X-Amz-Target"] != "secretsmanager.GetSecretValue":
            return _error(400, "InvalidAction")
        if json.loads(await request.read())["SecretId"] != self.SECRET:
            return _error(400, "ResourceNotFoundException")
        return _json(200, {"Name": self.SECRET, "VersionId": "1", **self.answer})


def _error(status: int, code: str) -> web.Response:
    return _json(status, {"__type": code, "Message": "message-canary"})


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.json_response(body, status=status, content_type="application/x-amz-json-1.1")


@asynccontextmanager
async def aws_secrets_standin() -> AsyncIterator[AwsSecretsStandin]:
    """Run it on a free port."""
    aws = AwsSecretsStandin()
    app = web.Application()
    app.router.add_post("/", aws.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        aws.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield aws
    finally:
        await runner.cleanup()
