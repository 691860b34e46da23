"""Whether callers must prove who they are, and how."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AuthConfig(BaseModel):
    """Who may use the service."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["none", "api_key"] | None = Field(
        None,
        description=(
            "How callers prove who they are: `api_key`, by keys from `imgsvc keys create`; or"
            " `none`. Unset, it is `none` while only this machine can reach the server; on any"
            " other address the server then does not start."
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

    @property
    def is_on(self) -> bool:
        """Whether callers must prove who they are."""
        return self.mode not in {None, "none"}
