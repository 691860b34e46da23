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

PAGE = (Path(__file__).parents[2] / "docs" / "callbacks.md").read_text()


async def test_the_documented_receiver_takes_signed_callbacks_and_no_others(
    session: aiohttp.ClientSession,
    delivery: Callable[..., Delivery],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    monkeypatch.setenv("CALLBACK_SECRET", ours)
    [source] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    example: dict[str, Any] = {"__name__": "example"}
    exec(source, example)  # noqa: S102 - the page's own example
    signed = CallbackSender(session, CallbacksConfig(signing_secrets=[SecretStr(ours)]))
    unsigned = CallbackSender(session, CallbacksConfig())
    async with TestServer(example["app"]) as server:
        sent = delivery(str(server.make_url("/callback")))
        assert [(await signed.attempt(sent)).status for _ in range(2)] == [204, 204]
        assert (await unsigned.attempt(sent)).status == 401
    assert capsys.readouterr().out.splitlines()[0] == "42 completed "
    assert len(example["seen"]) == 1


def test_every_setting_is_documented_with_its_default() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE, re.MULTILINE))
    defaults = CallbacksConfig().model_dump()
    assert {key: json.loads(value) for key, value in documented.items()} == defaults
