"""A router in front of a provider that fails as it is told to, and the errors there are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from imgsvc import errors
from imgsvc.errors import ImgsvcError, ProviderError
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.providers import (
    Edited,
    EditRequest,
    EditRouter,
    Model,
    Observer,
    PartialImage,
    Provider,
    ProviderCall,
    ProviderRetry,
)
from providers.pictures import encoded
from standins.accounts import OpenAccount

FALLS_BACK: list[type[ProviderError]] = [
    errors.ProviderNotConfigured,
    errors.BudgetSpent,
    errors.ProviderOutOfCredit,
    errors.ProviderBusy,
    errors.ProviderRateLimited,
    errors.ProviderKeyRejected,
    errors.ProviderAccessDenied,
    errors.ProviderModelNotFound,
    errors.ProviderServerError,
    errors.ProviderTimeout,
    errors.ProviderConnectionLost,
    errors.ProviderUnreachable,
    errors.ProviderBadAnswer,
]
FAILS: list[type[ProviderError]] = [
    errors.ProviderRefusedContent,
    errors.ProviderRefusedImage,
    errors.ProviderRefusedParameter,
]


@dataclass(slots=True)
class Clock:
    """Time that passes only while the router waits."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Notes:
    """What the router tells of one picture."""

    calls: list[ProviderCall] = field(default_factory=list)
    retries: list[ProviderRetry] = field(default_factory=list)
    partials: list[PartialImage] = field(default_factory=list)

    def provider_called(self, call: ProviderCall) -> None:
        self.calls.append(call)

    def provider_retry(self, retry: ProviderRetry) -> None:
        self.retries.append(retry)

    def partial_image(self, partial: PartialImage) -> None:
        self.partials.append(partial)


async def edit(
    provider: Provider, request: EditRequest, notes: Notes | None = None
) -> EncodedImage:
    """Return what the provider makes of it with the model that it names, or its first one."""
    model = provider.models[request.options.model or next(iter(provider.models))]
    return (await provider.edit(request, model, notes or Notes())).image


class FailingProvider:
    """A provider that raises what it is given, one after the other, and then the last again."""

    def __init__(self, *errors: BaseException | None, name: str = "failing", **model: Any) -> None:
        self.name = name
        self.errors = list(errors)
        self.calls = 0
        names = ("model-1", "model-2")
        self.models = {name: Model(**{"name": name} | model) for name in names}

    async def edit(self, _request: EditRequest, _model: Model, _observer: Observer) -> Edited:
        self.calls += 1
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error is not None:
            raise error
        return Edited(image=EncodedImage(format=ImageFormat.PNG, content=encoded("PNG")))

    async def probe(self) -> None:
        raise AssertionError("nobody asks for it")


@dataclass(kw_only=True, slots=True)
class Desk:
    """A router in front of a provider that fails, with its own clock."""

    provider: FailingProvider
    router: EditRouter
    clock: Clock
    notes: Notes = field(default_factory=Notes)
    account: OpenAccount = field(default_factory=OpenAccount)

    async def edit(self, request: EditRequest, *, left: float = 600, allowed: bool = True) -> Any:
        """Return the result of an edit that has so many seconds, or the error it fails with."""
        try:
            return await self.router.edit(
                request,
                fallback_allowed=allowed,
                until=self.clock.now + left,
                observer=self.notes,
                account=self.account,
            )
        except ImgsvcError as error:
            return error


MakeDesk: TypeAlias = Callable[..., Desk]
MakeRequest: TypeAlias = Callable[..., EditRequest]
