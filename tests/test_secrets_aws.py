"""Settings are read from AWS Secrets Manager, and its refusals are told without a secret."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from imgsvc.errors import ConfigurationError
from imgsvc.secrets import SecretsConfig, open_manager
from standins.aws_secrets import AwsSecretsStandin, aws_secrets_standin


@pytest.fixture
async def standin(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwsSecretsStandin]:
    async with aws_secrets_standin() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def configured(standin: AwsSecretsStandin, **more: Any) -> SecretsConfig:
    given = {"secret": standin.SECRET, "endpoint": standin.url} | more
    return SecretsConfig(manager="aws", region=standin.REGION, **given)


async def test_the_entries_of_a_secret_are_settings(standin: AwsSecretsStandin) -> None:
    standin.hold(openai__api_key="sk-1", callbacks__signing_secrets=["whsec_a"], other="x")
    async with open_manager(configured(standin), "aws") as source:
        assert await source.read() == {
            "openai__api_key": "sk-1",
            "callbacks__signing_secrets": '["whsec_a"]',
        }
        standin.hold(openai__api_key="sk-2")
        assert await source.read() == {"openai__api_key": "sk-2"}


@pytest.mark.parametrize("answer", [{"SecretString": "canary"}, {"SecretBinary": "Y2FuYXJ5"}])
async def test_a_secret_that_is_no_json_object_is_told_so(
    standin: AwsSecretsStandin, answer: dict[str, str]
) -> None:
    standin.answer = answer
    async with open_manager(configured(standin), "aws") as source:
        with pytest.raises(ConfigurationError, match="holds no JSON object") as caught:
            await source.read()
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("code", ["AccessDeniedException", "DecryptionFailure"])
async def test_a_refusal_is_told_with_its_code_and_not_with_its_words(
    standin: AwsSecretsStandin, code: str
) -> None:
    standin.failing = 400, code
    async with open_manager(configured(standin), "aws") as source:
        with pytest.raises(ConfigurationError, match=f"was refused \\({code}\\)") as caught:
            await source.read()
    assert "canary" not in caught.value.message


async def test_a_secret_that_is_not_there_is_told(standin: AwsSecretsStandin) -> None:
    async with open_manager(configured(standin, secret="other"), "aws") as source:
        with pytest.raises(ConfigurationError, match=r"other in AWS .*\(ResourceNotFound"):
            await source.read()


GARBAGE = [
    b"",
    b"<html>canary</html>",
    b"\xffcanary",
    b"null",
    b"5",
    b'"canary"',
    b'["canary"]',
    b'{"__type": ["canary"]}',
    b'{"__type": 5}',
    b'{"Code": {"canary": 1}}',
    b'{"CreatedDate": "canary"}',
    b'{"CreatedDate": 1e400}',
    b'{"VersionStages": 5}',
    b'{"SecretString": 5}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("status", [200, 302, 400])
async def test_what_is_no_answer_of_aws_is_told_and_ends_nothing(
    standin: AwsSecretsStandin, status: int
) -> None:
    async with open_manager(configured(standin), "aws") as source:
        for body in GARBAGE:
            standin.garbage = status, body
            with pytest.raises(ConfigurationError) as caught:
                await source.read()
            assert "canary" not in caught.value.message
        standin.garbage = None
        assert await source.read() == {}


async def test_a_service_that_is_away_is_told(
    standin: AwsSecretsStandin, unused_tcp_port: int
) -> None:
    config = configured(standin, endpoint=f"http://127.0.0.1:{unused_tcp_port}")
    async with open_manager(config, "aws") as source:
        with pytest.raises(ConfigurationError, match="EndpointConnectionError"):
            await source.read()


async def test_half_of_the_credentials_is_told(
    standin: AwsSecretsStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="PartialCredentialsError"):
        async with open_manager(configured(standin), "aws"):
            pass
