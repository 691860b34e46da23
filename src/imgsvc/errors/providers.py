"""The image API refused or could not be reached."""

import asyncio
from collections.abc import Sequence

from imgsvc.errors.base import ImgsvcError


class ProviderError(ImgsvcError):
    """The image API could not edit the image."""

    status = 502
    code = "provider_error"
    title = "Provider error"


class ProviderNotConfigured(ProviderError):
    """No image API is configured. The operator sets OPENAI_API_KEY, or adds [[providers]]."""

    code = "provider_not_configured"
    title = "No provider configured"


class BudgetSpent(ProviderError):
    """A call of the image API would cost more than may still be spent. Raise the budget."""

    status = 402
    code = "budget_spent"
    title = "Budget spent"

    def __init__(
        self,
        message: str | None = None,
        *,
        of_job: bool = False,
        is_final: bool = False,
        freed: asyncio.Event | None = None,
    ) -> None:
        self.of_job = of_job  # the budget is the job's own
        self.is_final = is_final  # nobody may step in
        self.freed = freed  # set when money may be free again; None: it will not be
        super().__init__(message)


class PriceUnknown(BudgetSpent):
    """What the model costs is not known, so no budget can pay for it. Set its price."""

    code = "price_unknown"
    title = "Price unknown"


class ProviderOutOfCredit(ProviderError):
    """The image API's account is out of credit or at its limit. Raise it, then try again."""

    code = "provider_out_of_credit"
    title = "Provider out of credit"


class ProviderRateLimited(ProviderError):
    """The image API is limiting the rate of requests. Try again later."""

    code = "provider_rate_limited"
    title = "Provider rate limit"
    retryable = True

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after  # seconds, as the API asked for
        super().__init__(message)


class ProviderBusy(ProviderError):
    """More is asked of the image API than its account allows at a time. Try again later."""

    code = "provider_busy"
    title = "Provider busy"
    retryable = True


class ProviderRefusedContent(ProviderError):
    """The image API's moderation refused this prompt or image. Change them and try again."""

    status = 422
    code = "provider_refused_content"
    title = "Content refused"

    def __init__(self, message: str | None = None, *, categories: Sequence[str] = ()) -> None:
        self.categories = tuple(categories)  # what was objected to, if the API tells: violence
        super().__init__(message)


class ProviderRefusedImage(ProviderError):
    """The image API could not read this image. Save it as PNG and try again."""

    status = 422
    code = "provider_refused_image"
    title = "Image refused"


class ProviderRefusedParameter(ProviderError):
    """The image API refused a parameter. Check model, size, quality and background."""

    status = 422
    code = "provider_refused_parameter"
    title = "Parameter refused"


class ProviderKeyRejected(ProviderError):
    """The image API rejected the service's key. The operator has to renew it."""

    code = "provider_key_rejected"
    title = "Provider key rejected"


class ProviderAccessDenied(ProviderError):
    """The image API denies this account access. The operator has to verify the organization."""

    code = "provider_access_denied"
    title = "Provider access denied"


class ProviderModelNotFound(ProviderError):
    """The image API does not have this model, or no longer. Choose another one."""

    code = "provider_model_not_found"
    title = "Model not found"


class ProviderServerError(ProviderError):
    """The image API failed. Try again later."""

    code = "provider_server_error"
    title = "Provider failure"
    retryable = True


class ProviderTimeout(ProviderError):
    """The image API did not answer in time; whether it billed the edit is unknown."""

    code = "provider_timeout"
    title = "Provider timed out"


class ProviderConnectionLost(ProviderError):
    """The connection to the image API broke; whether it billed the edit is unknown."""

    code = "provider_connection_lost"
    title = "Provider connection lost"


class ProviderUnreachable(ProviderError):
    """No connection to the image API: nothing was sent. Try again later."""

    code = "provider_unreachable"
    title = "Provider unreachable"
    retryable = True


class ProviderBadAnswer(ProviderError):
    """The image API answered with something that is not the image asked for."""

    code = "provider_bad_answer"
    title = "Provider answer unusable"
