"""AWS Secrets Manager: a secret whose text is a JSON object.

Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import orjson
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from imgsvc.errors import ConfigurationError
from imgsvc.secrets.base import TIMEOUT, setting_texts
from imgsvc.secrets.config import SecretsConfig

_PLAIN_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{2,63}")


class AwsSecretsManager:
    """One secret in AWS; made by open_aws."""

    name = "aws"

    def __init__(self, client: Any, config: SecretsConfig) -> None:
        self._client = client
        self._config = config

    async def read(self) -> Mapping[str, str]:
        """Return the entries of the secret that are settings; raise ConfigurationError."""
        with _mapped(self._config):
            async with asyncio.timeout(TIMEOUT):
                answer = await self._client.get_secret_value(SecretId=self._config.secret)
        try:
            document = orjson.loads(answer.get("SecretString", ""))
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise _problem(self._config, "holds no JSON object")
        return setting_texts(document)


@asynccontextmanager
async def open_aws(config: SecretsConfig) -> AsyncIterator[AwsSecretsManager]:
    """Yield the secret in AWS, with the credentials that AWS's own tools would use here.

    Raises ConfigurationError if those cannot be read.
    """
    create = get_session().create_client(
        "secretsmanager",
        region_name=config.region,
        endpoint_url=config.endpoint,
        verify=str(config.ca_file) if config.ca_file else None,
        config=AioConfig(
            connect_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": 2},
        ),
    )
    async with AsyncExitStack() as stack:
        with _mapped(config):
            client = await stack.enter_async_context(create)
        yield AwsSecretsManager(client, config)


@contextmanager
def _mapped(config: SecretsConfig) -> Iterator[None]:
    """Turn what the client raises into ConfigurationError; its own words are not repeated."""
    try:
        yield
    except ClientError as exc:
        code = exc.response.get("Error", {}).get("Code", "")
        raise _problem(config, f"was refused ({_plain(str(code))})") from exc
    except Exception as exc:
        raise _problem(config, f"cannot be had ({type(exc).__name__})") from exc


def _plain(code: str) -> str:
    return code if _PLAIN_CODE.fullmatch(code) else "no code"


def _problem(config: SecretsConfig, what: str) -> ConfigurationError:
    where = config.endpoint or config.region
    return ConfigurationError([f"secrets: the secret {config.secret} in AWS at {where} {what}"])
