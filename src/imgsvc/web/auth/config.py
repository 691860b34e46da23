"""Whether callers must prove who they are, and how."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Signatures by a private key of the issuer's: a public key proves nothing but them."""


class AuthConfig(BaseModel):
    """Who may use the service."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["none", "api_key", "jwt", "api_key,jwt"] | None = Field(
        None,
        description=(
            "How callers prove who they are: `api_key`, by keys from `imgsvc keys create`; `jwt`,"
            " by tokens of an issuer; `api_key,jwt`, by either; or `none`. Unset, it is `none`"
            " while only this machine can reach the server; on any other address the server then"
            " does not start."
        ),
    )
    public_metrics: bool = Field(
        default=False,
        description="Whether `/metrics` is for everybody, not for the role `operate` alone.",
    )
    max_failures: int = Field(
        20,
        ge=1,
        le=1000,
        description=(
            "Wrong keys within `auth.failure_window` after which further tries from the same"
            " address, or with the same key's id, are refused with 429."
        ),
    )
    failure_window: float = Field(
        60, gt=0, allow_inf_nan=False, description="Seconds for which a wrong key counts."
    )
    jwt_issuer: str | None = Field(
        None, min_length=1, description="The claim `iss` that each token must have."
    )
    jwt_audience: str | None = Field(
        None, min_length=1, description="What the claim `aud` of each token must be, or have in it."
    )
    jwt_jwks_url: str | None = Field(
        None,
        description="Where the issuer's public keys are, as a JSON Web Key Set; by https.",
    )
    jwt_jwks_file: Path | None = Field(
        None, description="A file with that set, in place of the URL."
    )
    jwt_algorithms: list[Algorithm] = Field(
        ["RS256"],
        min_length=1,
        description="How tokens may be signed; none of the ways needs a secret of ours.",
    )
    jwt_leeway: float = Field(
        30, ge=0, le=300, description="Seconds by which the issuer's clock may differ."
    )
    jwt_client_claim: str = Field(
        "sub", min_length=1, description="The claim that says which client it is."
    )
    jwt_roles_claim: str = Field(
        "scope", min_length=1, description="The claim with its roles: words of a text, or a list."
    )
    jwt_role_prefix: str = Field(
        "", description="What stands before a role there: with `imgsvc:`, `imgsvc:read`."
    )

    @field_validator("jwt_jwks_url")
    @classmethod
    def _safe(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        on_this_machine = parts.hostname in {"127.0.0.1", "::1", "localhost"}
        if not parts.hostname or parts.username or parts.fragment:
            raise ValueError("must be an absolute URL: https://issuer.example.com/jwks.json")
        if parts.scheme != "https" and not (parts.scheme == "http" and on_this_machine):
            raise ValueError("must begin with https: who changes the keys can be anybody")
        return value

    @model_validator(mode="after")
    def _tokens_can_be_checked(self) -> Self:
        if self.takes_tokens:
            if self.jwt_issuer is None or self.jwt_audience is None:
                raise ValueError("auth.mode takes jwt: set auth.jwt_issuer and auth.jwt_audience")
            if (self.jwt_jwks_url is None) == (self.jwt_jwks_file is None):
                raise ValueError(
                    "auth.mode takes jwt: set one of auth.jwt_jwks_url and auth.jwt_jwks_file"
                )
        return self

    @property
    def takes_keys(self) -> bool:
        """Whether callers may have an API key."""
        return self.mode in {"api_key", "api_key,jwt"}

    @property
    def takes_tokens(self) -> bool:
        """Whether callers may have a token of an issuer."""
        return self.mode in {"jwt", "api_key,jwt"}

    @property
    def is_on(self) -> bool:
        """Whether callers must prove who they are."""
        return self.mode not in {None, "none"}
