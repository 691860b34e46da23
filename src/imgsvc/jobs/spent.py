"""What calls have cost, added up."""

from collections.abc import Mapping
from dataclasses import dataclass

from imgsvc.providers.pricing import in_usd


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What the calls of image APIs have cost that were made for a job, or for one image."""

    calls: int = 0
    cost: int = 0  # nano-dollars, of those calls whose cost is known
    unknown_calls: int = 0  # whose cost is not: they may have been billed, or have no price

    def plus(self, cost: int | None) -> "Spent":
        """Return this with one more call."""
        return Spent(
            calls=self.calls + 1,
            cost=self.cost + (cost or 0),
            unknown_calls=self.unknown_calls + (cost is None),
        )

    @property
    def usd(self) -> float | None:
        """The cost as it is shown, in US dollars; None if nothing was called."""
        return in_usd(self.cost) if self.calls else None

    @property
    def is_unknown(self) -> bool:
        """Whether that is not all of it."""
        return self.unknown_calls > 0

    @property
    def shown(self) -> Mapping[str, float | bool | None]:
        """The fields that tell of it; those that are None are left out."""
        return {"cost_usd": self.usd, "cost_unknown": self.is_unknown or None}
