"""An account that pays for everything."""

from dataclasses import dataclass, field

from imgsvc.providers import ProviderCall


@dataclass(kw_only=True, slots=True)
class OpenAccount:
    """Notes what was reserved and settled."""

    reserved: list[tuple[str, str, int | None]] = field(default_factory=list)
    settled: list[ProviderCall] = field(default_factory=list)
    cancelled: int = 0
    refuses: BaseException | None = None  # what every reservation raises

    async def reserve(self, provider: str, model: str, estimate: int | None) -> "OpenAccount":
        if self.refuses is not None:
            raise self.refuses
        self.reserved.append((provider, model, estimate))
        return self

    def settle(self, call: ProviderCall) -> None:
        self.settled.append(call)

    def cancel(self) -> None:
        self.cancelled += 1
