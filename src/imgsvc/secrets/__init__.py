"""Where secrets are kept besides the environment and the configuration file, and their renewal."""

from contextlib import AbstractAsyncContextManager

from imgsvc.secrets.base import SecretSource
from imgsvc.secrets.config import Manager, SecretsConfig
from imgsvc.secrets.files import SecretFiles, read_secret_files
from imgsvc.secrets.renewals import NO_RENEWALS, ReadOutcome, Renewals
from imgsvc.secrets.vault import open_vault

__all__ = [
    "NO_RENEWALS",
    "Manager",
    "ReadOutcome",
    "Renewals",
    "SecretFiles",
    "SecretSource",
    "SecretsConfig",
    "open_manager",
    "read_secret_files",
]


def open_manager(
    config: SecretsConfig, manager: Manager
) -> AbstractAsyncContextManager[SecretSource]:
    """Return the secrets manager of this kind, to be entered; that may raise ConfigurationError."""
    match manager:
        case "aws":
            from imgsvc.secrets.aws import open_aws  # noqa: PLC0415 - takes half a second

            return open_aws(config)
        case "vault":
            return open_vault(config)
