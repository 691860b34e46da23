"""Which provider edits a picture, and which errors the local engine steps in for."""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from time import monotonic

import structlog

from imgsvc.errors import (
    ProviderAccessDenied,
    ProviderBadAnswer,
    ProviderConnectionLost,
    ProviderError,
    ProviderKeyRejected,
    ProviderModelNotFound,
    ProviderNotConfigured,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRefusedContent,
    ProviderRefusedImage,
    ProviderRefusedParameter,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
)
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.providers.base import EditRequest, EditResult, Observe, Provider, ProviderCall
from imgsvc.providers.local import LocalProvider

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Reaction(StrEnum):
    """What to do about an error of the provider."""

    FALL_BACK = "fall_back"  # the local engine steps in, if the caller allows it
    FAIL = "fail"  # the request itself is at fault: the caller has to know


REACTIONS: Mapping[type[ProviderError], Reaction] = {
    ProviderNotConfigured: Reaction.FALL_BACK,
    ProviderOutOfCredit: Reaction.FALL_BACK,
    ProviderRateLimited: Reaction.FALL_BACK,
    ProviderKeyRejected: Reaction.FALL_BACK,
    ProviderAccessDenied: Reaction.FALL_BACK,
    ProviderModelNotFound: Reaction.FALL_BACK,
    ProviderServerError: Reaction.FALL_BACK,
    ProviderTimeout: Reaction.FALL_BACK,
    ProviderConnectionLost: Reaction.FALL_BACK,
    ProviderUnreachable: Reaction.FALL_BACK,
    ProviderBadAnswer: Reaction.FALL_BACK,
    ProviderRefusedContent: Reaction.FAIL,
    ProviderRefusedImage: Reaction.FAIL,
    ProviderRefusedParameter: Reaction.FAIL,
}


class EditRouter:
    """Asks the configured provider, and the local engine where the policy says so."""

    def __init__(self, primary: Provider | None, local: LocalProvider) -> None:
        self._primary = primary
        self._local = local

    @property
    def name(self) -> str:
        """The provider that is asked first: ``local`` if no image API is configured."""
        return self._local.name if self._primary is None else self._primary.name

    async def edit(
        self, request: EditRequest, *, fallback_allowed: bool, observe: Observe
    ) -> EditResult:
        """Return the edited picture and who made it.

        Raises ProviderError, ImageError or ImageProcessDied.
        """
        try:
            if self._primary is None:
                raise ProviderNotConfigured
            image = await _observed(self._primary, request, observe)
        except ProviderError as error:
            if not fallback_allowed or REACTIONS[type(error)] is Reaction.FAIL:
                raise
            _log.warning("provider_fallback", reason=error.code, error=error.kind)
            image = await self._local.edit(request, error.code)
            return EditResult(image=image, provider=self._local.name, fallback_reason=error.code)
        return EditResult(image=image, provider=self._primary.name)


async def _observed(provider: Provider, request: EditRequest, observe: Observe) -> EncodedImage:
    started, error = monotonic(), None
    try:
        return await provider.edit(request)
    except ProviderError as exc:
        error = exc.code
        raise
    except asyncio.CancelledError:
        error = "cancelled"
        raise
    finally:
        seconds = round(monotonic() - started, 3)
        observe(ProviderCall(provider=provider.name, seconds=seconds, error=error))
