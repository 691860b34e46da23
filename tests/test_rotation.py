"""Secrets are replaced under a running server: which, when, and what never is."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from imgsvc.config import Settings, load_settings
from imgsvc.config.rotation import Rotation, open_rotation
from imgsvc.errors import ConfigurationError
from imgsvc.logs import configure_logging, redact_too
from imgsvc.providers import Automatic1111Config, OpenAIConfig
from imgsvc.secrets import ReadOutcome, files
from imgsvc.storage import S3Config
from standins.configuration import S3, Environment, secret_file, toml
from standins.vault import VaultStandin, vault_standin

OLD, NEW = (f"whsec_{base64.b64encode(letter * 24).decode()}" for letter in (b"o", b"n"))


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    """Work in a folder whose `secrets` count as whole as soon as they are written."""
    monkeypatch.setattr(files, "SETTLED", 0)
    environment = Environment(monkeypatch, tmp_path)
    Path("secrets").mkdir()
    environment(IMGSVC_SECRETS_DIR="secrets")
    return environment


async def load() -> Settings:
    """Load the settings while this event loop answers for a secrets manager."""
    return await asyncio.to_thread(load_settings)


@asynccontextmanager
async def rotating() -> AsyncIterator[tuple[Settings, Rotation]]:
    settings = await load()
    async with open_rotation(settings) as rotation:
        yield settings, rotation


async def look(rotation: Rotation) -> list[structlog.typing.EventDict]:
    """Have the sources read, as a refused call does, and return what was logged."""
    with structlog.testing.capture_logs() as lines:
        rotation.renewals._looked = None  # noqa: SLF001 - no need to be patient
        await rotation.renewals.since(rotation.renewals.count)
    return lines


async def test_every_secret_is_replaced_where_it_is_used(env: Environment) -> None:
    toml(
        """
        [[providers]]
        name = "gpu"
        kind = "automatic1111"
        base_url = "http://gpu"
        models = ["a"]
        [[providers]]
        base_url = "http://other"
        name = "other"
        """
    )
    env(**{name: S3[name] for name in ("COS_ENDPOINT", "COS_BUCKET")})
    new = {
        "openai__api_key": "sk-new",
        "providers__gpu__username": "name-new",
        "providers__gpu__password": "password-new",
        "providers__other__api_key": "other-new",
        "storage__access_key_id": "id-new",
        "storage__secret_access_key": "key-new",
        "callbacks__signing_secrets": json.dumps([NEW, OLD]),
        "egress__proxy": "http://user:new@proxy.internal:3128",
    }
    for name, text in new.items():
        secret_file(name, text.replace("new", "old").replace(NEW, OLD))
    async with rotating() as (settings, rotation):
        policy = settings.egress_policy(own_port=1)
        openai, (gpu, other), storage = settings.openai, settings.providers, settings.storage
        assert isinstance(gpu, Automatic1111Config)
        assert isinstance(other, OpenAIConfig)
        assert isinstance(storage, S3Config)
        for name, text in new.items():
            secret_file(name, text)
        (line,) = await look(rotation)
        assert line["event"] == "secrets_renewed"
        assert set(line["settings"]) == {
            "openai.api_key",
            "providers.gpu.username",
            "providers.gpu.password",
            "providers.other.api_key",
            "storage.access_key_id",
            "storage.secret_access_key",
            "callbacks.signing_secrets",
            "egress.proxy",
        }
        assert openai.api_key == SecretStr("sk-new")
        assert (gpu.username, gpu.password) == ("name-new", SecretStr("password-new"))
        assert other.api_key == SecretStr("other-new")
        assert storage.access_key_id == "id-new"
        assert storage.secret_access_key == SecretStr("key-new")
        assert settings.callbacks.signing_secrets == [SecretStr(NEW), SecretStr(OLD)]
        assert policy.proxy is not None
        assert policy.proxy() == SecretStr("http://user:new@proxy.internal:3128")
        assert await look(rotation) == []


@pytest.mark.parametrize(
    ("name", "old", "wrong", "problem"),
    [
        ("callbacks__signing_secrets", [OLD], ["whsec_canary!"], "is not base64"),
        ("callbacks__signing_secrets", [OLD], ["canary"], "write whsec_ and then"),
        ("callbacks__signing_secrets", [OLD], [], "callbacks.signing_secrets: is empty"),
        ("openai__api_key", "sk-1", "canary\ncanary", "visible ASCII characters only"),
        ("egress__proxy", "http://a.internal:1", "canary", "write the proxy as"),
    ],
)
async def test_a_new_value_that_cannot_be_used_is_refused_and_others_are_taken(
    env: Environment, name: str, old: object, wrong: object, problem: str
) -> None:
    def put(value: object) -> None:
        secret_file(name, value if isinstance(value, str) else json.dumps(value))

    put(old)
    env(COS_ENDPOINT=S3["COS_ENDPOINT"], COS_BUCKET="b")
    secret_file("storage__access_key_id", "id-1")
    secret_file("storage__secret_access_key", "key-1")
    async with rotating() as (settings, rotation):
        before = settings.model_dump()
        put(wrong)
        secret_file("storage__secret_access_key", "key-2")
        renewed, refused = await look(rotation)
        assert renewed["settings"] == ["storage.secret_access_key"]
        assert (refused["event"], refused["log_level"]) == ("secrets_refused", "warning")
        assert [problem in each for each in refused["problems"]] == [True]
        assert "canary" not in str(refused)
        before["storage"]["secret_access_key"] = SecretStr("key-2")
        assert settings.model_dump() == before
        assert await look(rotation) == []  # told once
        put(old)
        assert await look(rotation) == []


async def test_what_is_in_one_table_is_taken_together_or_not_at_all(env: Environment) -> None:
    env(COS_ENDPOINT=S3["COS_ENDPOINT"], COS_BUCKET="b")
    secret_file("storage__access_key_id", "id-1")
    secret_file("storage__secret_access_key", "key-1")
    async with rotating() as (settings, rotation):
        storage = settings.storage
        assert isinstance(storage, S3Config)
        secret_file("storage__access_key_id", "id-2")
        secret_file("storage__retry_seconds", "many")
        secret_file("storage__secret_access_key", "key-2")
        (refused,) = await look(rotation)
        assert refused["event"] == "secrets_refused"
        assert (storage.access_key_id, storage.secret_access_key.get_secret_value()) == (
            "id-1",
            "key-1",
        )


async def test_an_empty_file_or_one_that_is_gone_leaves_the_secret_as_it_is() -> None:
    secret_file("openai__api_key", "sk-1")
    secret_file("callbacks__signing_secrets", json.dumps([OLD]))
    async with rotating() as (settings, rotation):
        secret_file("openai__api_key", "")
        await asyncio.to_thread(Path("secrets/callbacks__signing_secrets").unlink)
        (missing,) = await look(rotation)
        assert (missing["event"], missing["log_level"]) == ("secrets_missing", "warning")
        assert missing["names"] == ["callbacks__signing_secrets", "openai__api_key"]
        assert await look(rotation) == []  # told once
        assert settings.openai.api_key == SecretStr("sk-1")
        assert settings.callbacks.signing_secrets == [SecretStr(OLD)]
        secret_file("openai__api_key", "sk-2")
        assert [line["event"] for line in await look(rotation)] == [
            "secrets_missing",
            "secrets_renewed",
        ]


async def test_other_settings_and_secrets_that_were_not_set_wait_for_a_start() -> None:
    secret_file("openai__api_key", "sk-1")
    async with rotating() as (settings, rotation):
        before = settings.model_dump()
        secret_file("workers__count", "7")
        secret_file("egress__proxy", "http://proxy.internal:3128")
        toml(f'[callbacks]\nsigning_secrets = ["{OLD}"]\n[openai]\nmodel = "other"')
        (waiting,) = await look(rotation)
        assert (waiting["event"], waiting["log_level"]) == ("secrets_need_restart", "warning")
        assert waiting["settings"] == ["workers.count", "egress.proxy"]
        assert "internal" not in str(waiting)
        assert await look(rotation) == []  # told once
        assert settings.model_dump() == before


async def test_a_configuration_file_that_has_changed_is_compared_and_not_taken() -> None:
    file = toml('[openai]\nmodel = "one"\n[[providers]]\nname = "gpu"\napi_key = "k"')
    async with rotating() as (settings, rotation):
        before = settings.model_dump()
        assert not await rotation.compare_file()
        toml(
            f'[callbacks]\nsigning_secrets = ["{OLD}"]\n[openai]\nmodel = "two"'
            '\n[[providers]]\nname = "gpu"\napi_key = "canary"\n[clients.ann]\nmax_priority = 3'
        )
        with structlog.testing.capture_logs() as lines:
            assert await rotation.compare_file()
        (line,) = lines
        assert (line["event"], line["file"]) == ("settings_need_restart", str(file))
        assert line["settings"] == [
            "openai.model",
            "providers.gpu.api_key",
            "clients",
            "callbacks.signing_secrets",
        ]
        assert "canary" not in str(line)
        toml("[openai]\nmodle = 1")
        with pytest.raises(ConfigurationError, match=r"did you mean openai\.model"):
            await rotation.compare_file()
        await asyncio.to_thread(file.unlink)
        with pytest.raises(ConfigurationError, match=r"cannot be read"):
            await rotation.compare_file()
        assert settings.model_dump() == before


async def test_what_was_refused_is_taken_once_nothing_else_is_in_its_way() -> None:
    deny_file = Path("deny.txt")
    secret_file("openai__api_key", "sk-1")
    toml('prompts.deny_file = "deny.txt"')
    toml("", "deny.txt")
    async with rotating() as (settings, rotation):
        await asyncio.to_thread(deny_file.unlink)
        secret_file("openai__api_key", "sk-2")
        (refused,) = await look(rotation)
        assert "prompts.deny_file" in str(refused["problems"])
        assert await look(rotation) == []  # told once
        assert settings.openai.api_key == SecretStr("sk-1")
        await asyncio.to_thread(deny_file.touch)
        (renewed,) = await look(rotation)
        assert renewed["settings"] == ["openai.api_key"]


async def test_a_secret_that_the_environment_sets_stays(env: Environment) -> None:
    env(OPENAI_API_KEY="sk-environment")
    secret_file("openai__api_key", "sk-1")
    async with rotating() as (settings, rotation):
        secret_file("openai__api_key", "sk-2")
        assert await look(rotation) == []
        assert settings.openai.api_key == SecretStr("sk-environment")


async def test_a_manager_that_is_away_leaves_the_last_values_and_is_warned_of_once(
    env: Environment,
) -> None:
    async with vault_standin() as vault:
        env(**vault.environment)
        vault.entries = {"openai__api_key": "sk-1"}
        async with rotating() as (settings, rotation):
            vault.tokens.clear()
            (away,) = await look(rotation)
            assert (away["event"], away["source"]) == ("secrets_not_read", "vault")
            assert VaultStandin.ROOT not in str(away)
            assert await look(rotation) == []
            assert settings.openai.api_key == SecretStr("sk-1")
            vault.entries["openai__api_key"] = "sk-2"
            vault.tokens.add(vault.ROOT)
            back, renewed = await look(rotation)
            assert (back["event"], renewed["settings"]) == (
                "secrets_read_again",
                ["openai.api_key"],
            )
            assert settings.openai.api_key == SecretStr("sk-2")
            assert +rotation.renewals.reads == {
                ("files", ReadOutcome.READ): 3,
                ("vault", ReadOutcome.FAILED): 2,
                ("vault", ReadOutcome.READ): 1,
            }


async def test_the_token_of_the_manager_is_replaced_as_well(env: Environment) -> None:
    async with vault_standin() as vault:
        env(**{k: v for k, v in vault.environment.items() if not k.endswith("TOKEN")})
        secret_file("secrets__vault_token", vault.ROOT)
        vault.entries = {"openai__api_key": "sk-1"}
        async with rotating() as (settings, rotation):
            vault.tokens = {"hvs.new"}
            vault.entries = {"openai__api_key": "sk-2"}
            secret_file("secrets__vault_token", "hvs.new")
            await look(rotation)
            await look(rotation)
            assert settings.openai.api_key == SecretStr("sk-2")


async def test_new_secrets_are_taken_out_of_the_log_and_old_ones_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, stream = logging.getLogger(), StringIO()
    monkeypatch.setattr(root, "handlers", [])
    secret_file("openai__api_key", "sk-old-canary")
    async with rotating() as (settings, rotation):
        configure_logging(settings.logs, secrets=["sk-old-canary"], stream=stream)
        secret_file("openai__api_key", "sk-new-canary")
        await rotation.renewals.since(0)
        logging.getLogger("library").warning("header %s %s", "sk-old-canary", "sk-new-canary")
        redact_too(f"canary-{number}" for number in range(2000))
        logging.getLogger("library").warning("latest canary-1999 earliest %s", "sk-old-canary")
    *_, last = stream.getvalue().splitlines()
    assert "latest [redacted] earliest sk-old-canary" in last  # it does not grow without end
    stream.truncate(stream.getvalue().index(last))
    assert "secrets_renewed" in stream.getvalue()
    assert "header [redacted] [redacted]" in stream.getvalue()
    assert "canary" not in stream.getvalue()


async def test_what_is_wrong_in_very_many_files_is_told_in_one_line(tmp_path: Path) -> None:
    secret_file("openai__api_key", "sk-1")
    others = [tmp_path / "secrets" / f"other{number}__key" for number in range(60)]
    async with rotating() as (settings, rotation):
        for file in others:
            file.write_text("x")
        secret_file("openai__api_key", "sk-2")
        [refused] = await look(rotation)
        problems = ["61 tables change at once, and not all of them are right"]
        assert (refused["event"], refused["problems"]) == ("secrets_refused", problems)
        assert settings.openai.api_key == SecretStr("sk-1")
        for file in others:
            file.unlink()
        [renewed] = await look(rotation)
        assert renewed["settings"] == ["openai.api_key"]


class SlowSource:
    """A secrets manager whose first answer takes long."""

    name = "vault"

    def __init__(self) -> None:
        self.asked, self.answering = asyncio.Event(), asyncio.Event()
        self.reads = 0

    async def read(self) -> dict[str, str]:
        self.reads += 1
        text = f"sk-{self.reads}"
        if self.reads == 1:
            self.asked.set()
            await self.answering.wait()
        return {"openai__api_key": text}


async def test_an_answer_that_comes_late_does_not_bring_an_old_secret_back() -> None:
    secret_file("openai__api_key", "sk-0")
    settings, source = await load(), SlowSource()
    settings.secrets.interval = 3600
    rotation = Rotation(settings, None, source)
    slow = asyncio.create_task(look(rotation))
    await source.asked.wait()
    again = asyncio.create_task(rotation.read_again())
    for _ in range(10):
        await asyncio.sleep(0)
    source.answering.set()
    await asyncio.gather(slow, again)
    assert settings.openai.api_key == SecretStr("sk-2")
