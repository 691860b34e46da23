"""What each client may have and do, as configured.

A client is whom a key or a token names, and without authentication an address.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from imgsvc.callbacks import HostName, SigningSecret
from imgsvc.errors import InvalidObjectKey
from imgsvc.jobs.models import QueueLimits
from imgsvc.jobs.request_rates import MAX_LIMIT
from imgsvc.jobs.spending import Usd
from imgsvc.storage.keys import check_key, normal_prefix


def _place(value: str) -> str:
    """Return a bucket, or a folder of one, with one slash at its end: `shop/`, `shop/input/`."""
    bucket, _, folder = value.partition("/")
    place = f"{bucket}/{normal_prefix(folder)}"
    try:
        check_key(f"{place}x")
    except InvalidObjectKey as exc:
        raise ValueError("write a bucket, `shop`, or a folder of one, `shop/input/`") from exc
    return place


Place = Annotated[str, AfterValidator(_place)]


class LimitsConfig(BaseModel):
    """What each client may have and do; what is not set has no limit."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    requests_per_minute: int | None = Field(
        None,
        ge=1,
        le=MAX_LIMIT,
        description="Requests that may be made within 60 seconds, of any kind; others get 429.",
    )
    max_queued_jobs: int | None = Field(
        None, ge=1, description="Jobs that may wait for a worker; one more is refused with 429."
    )
    max_queued_bytes: int | None = Field(
        None, ge=1, description="Bytes of pictures that may wait with them."
    )
    max_running_jobs: int | None = Field(
        None, ge=1, description="Jobs in work at once, batches too; others wait for their turn."
    )
    max_priority: int | None = Field(
        None, ge=0, le=9, description="Highest `priority` that a request may ask for."
    )
    buckets: list[Place] | None = Field(
        None,
        description="Buckets that batches may read and write, of those that the storage has:"
        " `shop`, or a folder of one, `shop/input/`. Unset: all of them.",
    )
    models: list[str] | None = Field(
        None,
        description="Models that may edit: names, providers, or `provider/model`; `local` for"
        " whom asks for the local engine. Unset: all that are offered.",
    )
    callback_hosts: list[HostName] | None = Field(
        None,
        description="Hosts that `callbackUrl` and `progressUrl` may name. Unset: all that the"
        " service may call.",
    )


class ClientConfig(LimitsConfig):
    """What one client may have and do, where that differs from all others."""

    blocked: bool = Field(
        default=False,
        description="Whether it is shut out: whatever it asks for is refused with 403.",
    )
    day_usd: Usd | None = Field(
        None,
        description="US dollars that its jobs may cost on one day (UTC), in place of"
        " `budgets.client_day_usd`.",
    )
    signing_secrets: list[SigningSecret] | None = Field(
        None,
        description="What its callbacks are signed with, in place of `callbacks.signing_secrets`.",
    )

    def held_to_priority(self, priority: int) -> int:
        """Return the priority, or the highest one that it may have."""
        return priority if self.max_priority is None else min(priority, self.max_priority)

    @property
    def queue(self) -> QueueLimits:
        """How much of it may wait."""
        return QueueLimits(jobs=self.max_queued_jobs, bytes=self.max_queued_bytes)


class Clients:
    """Everybody's limits, and those of single clients over them, key by key."""

    def __init__(
        self,
        everybody: LimitsConfig | None = None,
        named: Mapping[str, ClientConfig] | None = None,
    ) -> None:
        common = dict(everybody or LimitsConfig())
        self._configured = named or {}
        self._others = ClientConfig.model_construct(**common)
        self._named = {
            name: own.model_copy(
                update={key: value for key, value in common.items() if getattr(own, key) is None}
            )
            for name, own in self._configured.items()
        }

    def of(self, client: str) -> ClientConfig:
        """Return what holds for a client."""
        return self._named.get(client, self._others)

    def max_running_jobs(self, client: str) -> int | None:
        """Return how many jobs of a client may be in work at once; None: any number."""
        return self.of(client).max_running_jobs

    def signing_secrets(self, client: str) -> Sequence[SecretStr] | None:
        """Return what signs the callbacks of a client as it is now; None: as for all others.

        It is replaced where it is configured, so that the copy in `of` may be an old one.
        """
        own = self._configured.get(client)
        return None if own is None else own.signing_secrets
