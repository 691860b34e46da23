"""Settings are read from Vault, and whatever it answers instead is told without a secret."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from pydantic import ValidationError

from imgsvc.errors import ConfigurationError
from imgsvc.secrets import SecretsConfig, open_manager, vault
from standins.vault import VaultStandin, vault_standin


@pytest.fixture
async def standin() -> AsyncIterator[VaultStandin]:
    async with vault_standin() as running:
        running.entries = {"openai__api_key": "sk-1"}
        yield running


def configured(standin: VaultStandin, **more: Any) -> SecretsConfig:
    given = {"endpoint": standin.url, "vault_token": standin.ROOT} | more
    return SecretsConfig(manager="vault", secret=standin.SECRET, **given)


def with_role(standin: VaultStandin, secret_id: str = VaultStandin.SECRET_ID) -> SecretsConfig:
    return configured(
        standin, vault_token=None, vault_role_id=standin.ROLE_ID, vault_secret_id=secret_id
    )


async def test_the_entries_of_a_secret_are_settings(standin: VaultStandin) -> None:
    standin.entries |= {
        "callbacks__signing_secrets": ["whsec_a", "whsec_b"],
        "STORAGE__SECRET_ACCESS_KEY": " key\n",
        "openai__base_url": "",
        "openai__model": None,
        "somebody": "else's",
    }
    async with open_manager(configured(standin), "vault") as source:
        assert await source.read() == {
            "openai__api_key": "sk-1",
            "callbacks__signing_secrets": '["whsec_a","whsec_b"]',
            "storage__secret_access_key": "key",
        }


async def test_an_approle_logs_in_once_and_again_when_its_token_was_revoked(
    standin: VaultStandin,
) -> None:
    async with open_manager(with_role(standin), "vault") as source:
        assert await source.read() == await source.read() == {"openai__api_key": "sk-1"}
        assert standin.asked.count("POST auth/approle/login") == 1
        standin.tokens.clear()
        assert await source.read() == {"openai__api_key": "sk-1"}
        assert standin.asked.count("POST auth/approle/login") == 2


async def test_a_token_is_had_anew_before_its_lease_ends(
    standin: VaultStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(vault, "monotonic", lambda: now)
    standin.renewable = True
    asked = {"role": "POST auth/approle/login", "token": "POST auth/token/renew-self"}
    for which, config in (("role", with_role(standin)), ("token", configured(standin))):
        async with open_manager(config, "vault") as source:
            for seconds, times in ((0, 1), (standin.lease / 2 - 1, 1), (2, 2)):
                now += seconds
                await source.read()
                assert standin.asked.count(asked[which]) == times


async def test_a_secret_in_a_namespace_is_read_there(standin: VaultStandin) -> None:
    standin.namespace = "admin"
    async with open_manager(configured(standin, vault_namespace="admin"), "vault") as source:
        assert await source.read() == {"openai__api_key": "sk-1"}


async def test_a_token_that_cannot_be_renewed_is_used_as_it_is(standin: VaultStandin) -> None:
    async with open_manager(configured(standin), "vault") as source:
        await source.read()
        await source.read()
    assert standin.asked.count("POST auth/token/renew-self") == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_token_is_renewed_later_if_that_does_not_work_now(
    standin: VaultStandin, status: int
) -> None:
    standin.renewable = True
    async with open_manager(configured(standin), "vault") as source:
        await source.read()
        standin.failing_renewal = status
        source._token = None  # type: ignore[attr-defined]  # noqa: SLF001 - it has to be renewed
        for _ in range(2):
            assert await source.read() == {"openai__api_key": "sk-1"}
        standin.failing_renewal = None
        await source.read()
        await source.read()
    assert standin.asked.count("POST auth/token/renew-self") == 4


async def test_a_token_that_was_replaced_is_used_from_then_on(standin: VaultStandin) -> None:
    config = configured(standin)
    async with open_manager(config, "vault") as source:
        await source.read()
        standin.tokens = {"hvs.new"}
        with pytest.raises(ConfigurationError, match="does not let us read"):
            await source.read()
        config.vault_token = configured(standin, vault_token="hvs.new").vault_token
        assert await source.read() == {"openai__api_key": "sk-1"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.Response(status=403), "does not let us read secret/data/imgsvc/production"),
        (web.Response(status=404), "has no secret imgsvc/production below secret"),
        (web.Response(status=503, text='{"errors":["canary: sealed"]}'), "status 503"),
        (web.Response(status=307, headers={"Location": "http://canary.test/"}), "status 307"),
        (web.Response(text="<html>canary</html>"), "status 200 and no secret"),
        (web.Response(text='{"data": {"data": ["canary"]}}'), "status 200 and no secret"),
        (web.Response(body=b"canary" * 2**18), "more than a secret"),
    ],
    ids=["denied", "missing", "sealed", "redirect", "page", "list", "huge"],
)
@pytest.mark.parametrize("way", ["token", "role"])
async def test_what_vault_answers_instead_is_told_in_plain_words(
    standin: VaultStandin, answer: web.Response, words: str, way: str
) -> None:
    config = configured(standin) if way == "token" else with_role(standin)
    async with open_manager(config, "vault") as source:
        if way == "role":
            await source.read()  # it is logged in
        standin.failing = answer
        with pytest.raises(ConfigurationError) as caught:
            await source.read()
    if way == "role" and answer.status == 403:
        words = "refused the AppRole login (status 403)"
    assert words in caught.value.message
    assert caught.value.message.startswith(f"secrets: Vault at {standin.url} ")
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("text", ["hvs.a\r\nX-Canary: 1", "hvs.canary\0", "hvs.cänary", ""])
async def test_a_token_that_would_break_the_head_of_a_request_is_not_used(
    standin: VaultStandin, text: str
) -> None:
    answer = {"auth": {"client_token": text, "lease_duration": 60}}
    standin.failing = web.json_response(answer)
    async with open_manager(with_role(standin), "vault") as source:
        with pytest.raises(ConfigurationError, match="refused the AppRole login") as caught:
            await source.read()
    assert "canary" not in caught.value.message
    with pytest.raises(ValidationError, match="visible ASCII") as wrong:
        configured(standin, vault_token=text)
    assert "anary" not in str(wrong.value)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 70}.test", "xn--a"])
async def test_a_vault_that_has_no_name_is_told(standin: VaultStandin, host: str) -> None:
    async with open_manager(configured(standin, endpoint=f"https://{host}"), "vault") as source:
        with pytest.raises(ConfigurationError, match="cannot be reached"):
            await source.read()


async def test_a_wrong_secret_id_is_told_without_it(standin: VaultStandin) -> None:
    async with open_manager(with_role(standin, "wrong-canary"), "vault") as source:
        with pytest.raises(ConfigurationError, match=r"AppRole login \(status 400\)") as caught:
            await source.read()
    assert "canary" not in caught.value.message


async def test_a_vault_that_is_away_or_says_nothing_is_told(
    standin: VaultStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(vault, "TIMEOUT", 0.1)
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        config = configured(standin, endpoint=f"http://127.0.0.1:{port}")
        async with open_manager(config, "vault") as source:
            with pytest.raises(ConfigurationError, match="cannot be reached"):
                await source.read()
    async with open_manager(config, "vault") as source:
        with pytest.raises(ConfigurationError, match="cannot be reached"):
            await source.read()


async def test_only_a_certificate_of_a_known_authority_is_trusted(tmp_path: Path) -> None:
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with vault_standin(context) as standin:
        async with open_manager(configured(standin), "vault") as source:
            with pytest.raises(ConfigurationError, match="cannot be reached"):
                await source.read()
        assert not standin.asked
        async with open_manager(configured(standin, ca_file=file), "vault") as source:
            assert await source.read() == {}
    file.write_text("broken")
    with pytest.raises(ConfigurationError, match=r"secrets\.ca_file"):
        async with open_manager(configured(standin, ca_file=file), "vault"):
            pass
