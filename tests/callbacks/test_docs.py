import ast
import base64
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from imgsvc.callbacks import CallbacksConfig, CallbackSender, Delivery
from imgsvc.cli.check import check

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "callbacks.md").read_text()
JOB_ROOMS = ("callbacks", "imaging", "jobs", "providers", "storage")
NOT_IN_CALLBACKS = {
    "ConfigurationError": "the service does not start",
    "LinkExpired": "an answer to GET /files/",
    "LinkInvalid": "an answer to GET /files/",
    "QueueFull": "the request is refused, so there is no job",
    "IdempotencyKeyReused": "as QueueFull",
    "ClientLimitReached": "as QueueFull",
    "NotAllowedForClient": "as QueueFull",
    "SpoolFull": "as QueueFull",
    "ServerBusy": "as QueueFull",
    "ControlCharacter": "as QueueFull",
    "ModelNotOffered": "as QueueFull",
    "NotOfferedByModel": "as QueueFull",
    "FieldError": "a part of these two",
    "PromptRejected": "as QueueFull",
    "ModerationUnavailable": "as QueueFull",
    "JobNotFound": "an answer about a job",
    "JobFinished": "as JobNotFound",
    "JobNotRetryable": "as JobNotFound",
    "CallbackNotSettled": "as JobNotFound",
    "ImgsvcError": "written as InternalError",
    "ImageError": "only caught, for its kinds",
    "ProviderError": "only caught, for its kinds",
}


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    made = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    monkeypatch.setenv("CALLBACK_SECRET", made)
    return made


@pytest.fixture
def example(secret: str) -> dict[str, Any]:  # noqa: ARG001 - the example reads its variable
    """Return the names in the page's receiver."""
    [source] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(source, names)  # noqa: S102 - the page's own example
    return names


async def test_the_documented_receiver_takes_signed_callbacks_and_no_others(
    session: aiohttp.ClientSession,
    delivery: Callable[..., Delivery],
    secret: str,
    example: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    signed = CallbackSender(session, CallbacksConfig(signing_secrets=[SecretStr(secret)]))
    unsigned = CallbackSender(session, CallbacksConfig())
    async with TestServer(example["app"]) as server:
        sent = delivery(str(server.make_url("/callback")))
        assert [(await signed.attempt(sent)).status for _ in range(2)] == [204, 204]
        assert (await unsigned.attempt(sent)).status == 401
    assert capsys.readouterr().out.splitlines()[0] == "42 completed "
    assert len(example["seen"]) == 1


async def test_the_documented_receiver_survives_imgsvc_check(
    secret: str, example: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGSVC_CALLBACKS__SIGNING_SECRETS", json.dumps([secret]))
    async with TestServer(example["app"]) as server:
        url = str(server.make_url("/callback"))
        assert await check(None, connect=False, callback_url=url) == 0
    assert len(example["seen"]) == 1


async def test_the_documented_receiver_takes_again_what_it_could_not_handle(
    session: aiohttp.ClientSession,
    delivery: Callable[..., Delivery],
    secret: str,
    example: dict[str, Any],
) -> None:
    signed = CallbackSender(session, CallbacksConfig(signing_secrets=[SecretStr(secret)]))

    def fail(*_: object) -> None:
        raise OSError

    example["print"] = fail
    async with TestServer(example["app"]) as server:
        sent = delivery(str(server.make_url("/callback")))
        assert (await signed.attempt(sent)).status == 500
        del example["print"]
        assert (await signed.attempt(sent)).status == 204
    assert len(example["seen"]) == 1


def errors_of_jobs() -> set[str]:
    """Return the names that the rooms which do jobs import from imgsvc.errors."""
    return {
        alias.name
        for room in JOB_ROOMS
        for file in (ROOT / "src" / "imgsvc" / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "imgsvc.errors"
        for alias in node.names
        if alias.name[0].isupper()
    }


def test_every_kind_of_error_that_a_callback_can_carry_is_documented() -> None:
    storage = (ROOT / "docs" / "object-storage.md").read_text().partition("## When something")[2]
    providers = (ROOT / "docs" / "providers.md").read_text().partition("## Errors")[2]
    kinds = re.compile(r"^\| `([A-Z]\w+)` \|", re.MULTILINE)
    documented = {*kinds.findall(PAGE), *kinds.findall(storage)}
    documented |= set(
        re.findall(r"\| `(Provider\w+|BudgetSpent|PriceUnknown)` \|$", providers, re.MULTILINE)
    )
    ours = {"BatchFailed", "InternalError"}  # words of the callback alone
    assert documented == errors_of_jobs() - set(NOT_IN_CALLBACKS) | ours


def test_every_setting_is_documented_with_its_default() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE, re.MULTILINE))
    defaults = CallbacksConfig().model_dump()
    assert {key: json.loads(value) for key, value in documented.items()} == defaults
