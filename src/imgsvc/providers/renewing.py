"""Calls that are made again with a newer key."""

from imgsvc.errors import ProviderKeyRejected
from imgsvc.providers.base import Edited, EditRequest, Observer, Provider
from imgsvc.providers.models import Model
from imgsvc.secrets import Renewals


class RenewingProvider:
    """A provider that is asked once more if its key was replaced while it was refused."""

    def __init__(self, provider: Provider, renewals: Renewals) -> None:
        self.name = provider.name
        self.models = provider.models
        self._provider = provider
        self._renewals = renewals

    async def edit(self, request: EditRequest, model: Model, observer: Observer) -> Edited:
        """Return the edited picture. What was refused for its key has cost nothing."""
        return await self._renewals.retry(
            lambda: self._provider.edit(request, model, observer), is_key_rejected
        )

    async def probe(self) -> None:
        """Ask whether it is there."""
        await self._renewals.retry(self._provider.probe, is_key_rejected)


def is_key_rejected(exc: Exception) -> bool:
    """Tell whether an image API refused the key, and so did nothing."""
    return isinstance(exc, ProviderKeyRejected)
