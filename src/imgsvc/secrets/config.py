"""Which secrets manager is asked, and how."""

from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    model_validator,
)

from imgsvc.loopback import is_loopback
from imgsvc.secrets.fields import HeaderSecret

Manager: TypeAlias = Literal["aws", "vault"]


def _check_endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL, https://vault.example.com:8200 say")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold credentials, a query or a fragment")
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        raise ValueError(
            "must begin with https: the way there would show the token and all secrets"
        )
    return url.rstrip("/")


_Path = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)*$")]


class SecretsConfig(BaseModel):
    """A secrets manager that holds settings, in one secret of which they are the entries."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    manager: Manager | None = Field(
        None,
        description="Secrets manager to read from: `aws` is AWS Secrets Manager, `vault` is"
        " HashiCorp Vault, or what speaks its protocol. Unset: none.",
    )
    secret: str | None = Field(
        None,
        min_length=1,
        description="Which secret holds the settings: for AWS its name or ARN, for Vault its path"
        " below the mount.",
    )
    interval: float = Field(
        300,
        gt=0,
        allow_inf_nan=False,
        description="Seconds from one look into the secrets manager to the next.",
    )
    endpoint: Annotated[str, AfterValidator(_check_endpoint)] | None = Field(
        None,
        description="URL of the secrets manager, by https unless it is on this machine; AWS has"
        " one for each region.",
    )
    region: str | None = Field(None, min_length=1, description="Region of the secret in AWS.")
    ca_file: FilePath | None = Field(
        None, description="PEM file of a private certificate authority that the manager uses."
    )
    vault_mount: _Path = Field("secret", description="Where Vault's KV engine, version 2, is.")
    vault_auth_mount: _Path = Field("approle", description="Where Vault's AppRole login is.")
    vault_namespace: _Path | None = Field(
        None, description="Namespace in Vault, if it has any; HCP's is `admin`."
    )
    vault_token: HeaderSecret | None = Field(
        None, description="Token for Vault; it is renewed while that is possible."
    )
    vault_role_id: str | None = Field(
        None, min_length=1, description="AppRole to log in with at Vault in place of a token."
    )
    vault_secret_id: SecretStr | None = Field(
        None, min_length=1, description="Secret id that goes with `vault_role_id`."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        needed = {None: (), "aws": ("secret", "region"), "vault": ("secret", "endpoint")}
        if missing := [key for key in needed[self.manager] if getattr(self, key) is None]:
            raise ValueError(f"manager = {self.manager} needs {' and '.join(missing)} too")
        if (self.vault_role_id is None) is not (self.vault_secret_id is None):
            raise ValueError("vault_role_id and vault_secret_id go together: set both, or none")
        if self.manager == "vault" and (self.vault_token is None) is (self.vault_role_id is None):
            raise ValueError("manager = vault needs either vault_token, or vault_role_id")
        return self
