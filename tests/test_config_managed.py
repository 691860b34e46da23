"""Settings come from a secrets manager as well, and one that cannot be read is told."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from imgsvc.config import Settings, load_settings
from imgsvc.errors import ConfigurationError
from standins.aws_secrets import aws_secrets_standin
from standins.configuration import Environment, secret_file, toml
from standins.server_process import server_process
from standins.vault import vault_standin


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    environment = Environment(monkeypatch, tmp_path)
    Path("secrets").mkdir()
    environment(IMGSVC_SECRETS_DIR="secrets")
    return environment


async def load() -> Settings:
    """Load the settings while this event loop answers for a secrets manager."""
    return await asyncio.to_thread(load_settings)


async def test_environment_over_manager_over_files_over_the_configuration_file(
    env: Environment,
) -> None:
    async with vault_standin() as vault:
        env(**vault.environment)
        toml('openai.api_key = "sk-toml"')
        vault.entries = {"other": "x"}
        assert (await load()).openai.api_key == SecretStr("sk-toml")
        secret_file("openai__api_key", "sk-file")
        assert (await load()).openai.api_key == SecretStr("sk-file")
        vault.entries = {"openai__api_key": "sk-vault", "secrets__interval": "1"}
        settings = await load()
        assert settings.openai.api_key == SecretStr("sk-vault")
        assert settings.secrets.interval == 300  # what is about itself comes too late
        env(OPENAI_API_KEY="sk-environment")
        assert (await load()).openai.api_key == SecretStr("sk-environment")


async def test_a_manager_that_is_down_keeps_the_server_from_starting(tmp_path: Path) -> None:
    async with vault_standin() as vault:
        data_dir, environment = tmp_path / "data", vault.environment
    async with server_process(data_dir, started=False, environment=environment) as server:
        assert await server.process.wait() == 2
    said = "".join(server.output)
    assert f"- secrets: Vault at {vault.url} cannot be reached\n" in said
    assert "canary" not in said
    assert not await asyncio.to_thread(data_dir.exists)


async def test_the_service_of_aws_is_asked_at_the_start(env: Environment) -> None:
    async with aws_secrets_standin() as aws:
        env(**aws.environment)
        aws.hold(openai__api_key="sk-aws")
        assert (await load()).openai.api_key == SecretStr("sk-aws")
    with pytest.raises(ConfigurationError, match=r"secrets: .* cannot be had"):
        await load()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('manager = "vault"', "manager = vault needs secret and endpoint too"),
        ('manager = "aws"\nsecret = "s"', "manager = aws needs region too"),
        (
            'manager = "vault"\nsecret = "s"\nendpoint = "https://v"',
            "vault_token, or vault_role_id",
        ),
        ('vault_role_id = "r"', "vault_role_id and vault_secret_id go together"),
        ('endpoint = "http://user:canary@v"', "must not hold credentials"),
        ('endpoint = "http://vault.example.com:8200"', "must begin with https"),
        ('endpoint = "http://127.0.0.1.example.com"', "must begin with https"),
        ('manager = "gcp"', "secrets.manager: should be"),
    ],
)
def test_a_manager_that_is_configured_wrongly_is_told(text: str, problem: str) -> None:
    toml(f"[secrets]\n{text}")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert problem in caught.value.message
    assert "canary" not in caught.value.message


async def test_a_wrong_value_names_the_entry_that_set_it(env: Environment) -> None:
    async with vault_standin() as vault:
        env(**vault.environment)
        vault.entries = {"server__port": "canary", "providers__gpu__api_key": "canary"}
        with pytest.raises(ConfigurationError) as caught:
            await load()
        entry, none = "the secrets manager's entry", "there is none in [[providers]]"
        assert sorted(caught.value.problems) == [
            f"server.port: should be a whole number (set by {entry} server__port)",
            f"{entry} providers__gpu__api_key: there is no provider gpu; {none}",
        ]
