"""Where and how the server listens."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from imgsvc.loopback import is_loopback


class ServerConfig(BaseModel):
    """The HTTP side of the service."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(
        None,
        description=(
            "How callers reach the server: https://images.example.com. It goes into links and the"
            " OpenAPI document; unset, it is the address the server listens on, so set it if that"
            " is 0.0.0.0 or ::."
        ),
    )
    drain_timeout: float = Field(
        30,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that jobs in work and callbacks that are due may take after SIGTERM.",
    )
    max_body_bytes: int = Field(
        40 * 2**20,
        ge=1024,
        description="Largest request body; base64 makes an image a third larger.",
    )
    max_bodies_bytes: int = Field(
        2 * 2**30,
        ge=1024,
        description="Bytes of request bodies that may be on their way in at once.",
    )
    header_timeout: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        description="Seconds within which the head of a request must have arrived.",
    )
    body_timeout: float = Field(
        60,
        gt=0,
        allow_inf_nan=False,
        description="Seconds within which a request body must have arrived.",
    )
    send_timeout: float = Field(
        60,
        gt=0,
        allow_inf_nan=False,
        description=(
            "Seconds within which a caller must take 16 KiB of an answer, or what is left of it."
        ),
    )
    max_connections: int = Field(
        4096,
        ge=1,
        description=(
            "Connections at once; further ones are closed. Fewer if the system allows few files."
        ),
    )

    tls_cert: Path | None = Field(
        None,
        description=(
            "PEM file of the server's certificate and those that lead to its root: it then speaks"
            " TLS. Read again when it changes."
        ),
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key.")
    cors_origins: list[str] = Field(
        [],
        description="Origins whose pages may call the server from a browser; none by default.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, values: list[str]) -> list[str]:
        for value in values:
            parts = urlsplit(value)
            if parts.netloc and parts.path == "/" and value.endswith("/"):
                raise ValueError(f"an origin has no slash at its end: {value.rstrip('/')}")
            plain = f"{parts.scheme}://{parts.netloc}"
            if parts.scheme not in {"http", "https"} or not parts.netloc or plain != value:
                raise ValueError("must be origins: https://app.example.com, and no `*`")
        return values

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both")
        return self

    @field_validator("public_url")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if it is none
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise ValueError("must be an absolute URL: https://images.example.com")
        if parts.query or parts.fragment:
            raise ValueError("must not hold a query or a fragment")
        return value.rstrip("/")

    @property
    def over_tls(self) -> bool:
        """Whether callers reach the server by TLS, with which a proxy may be in charge."""
        public = self.public_url is not None and self.public_url.startswith("https://")
        return public or self.tls_cert is not None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def is_private(self) -> bool:
        """Whether it can be taken that nothing passes on what others than this machine ask for."""
        named = self.host if self.public_url is None else urlsplit(self.public_url).hostname
        return self.is_loopback and is_loopback(named or "")

    @property
    def links_lead_nowhere(self) -> bool:
        """Whether links name 0.0.0.0 or ::, at which no caller reaches the server."""
        try:
            return self.public_url is None and ip_address(self.host).is_unspecified
        except ValueError:
            return False
