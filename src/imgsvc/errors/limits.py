"""The caller is known, and what it asks for is more than it may."""

from collections.abc import Sequence

from imgsvc.errors.requests import RequestError


class ClientLimitReached(RequestError):
    """This client has as much under way as it may. Wait as long as Retry-After says."""

    status = 429
    code = "client_limit_reached"
    title = "Client limit reached"
    retryable = True
    retry_after: float | None = 5

    def __init__(self, rule: str, limit: int, *, wait: float = 5, reset: float = 5) -> None:
        self.rule = rule  # the name of the setting
        self.limit = limit
        self.retry_after = wait  # seconds
        self.reset = reset  # seconds until all of it is there again, as far as that is known
        super().__init__(
            f"This client has reached its limit: {rule} is {limit}. Wait as long as Retry-After"
            " says, or ask the operator for more."
        )


class NotAllowedForClient(RequestError):
    """This client may not do this. `allowed` tells what it may; the operator can change it."""

    status = 403
    code = "not_allowed_for_client"
    title = "Not allowed for this client"

    def __init__(self, rule: str, allowed: Sequence[str | int], what: str) -> None:
        self.rule = rule  # the name of the setting
        self.allowed = tuple(allowed)
        # A number is the highest one that is allowed.
        may = ", ".join(f"up to {each}" if isinstance(each, int) else each for each in allowed)
        super().__init__(
            f"This client may not use {what}: {rule} allows {may or 'none'}."
            " Ask the operator for more."
        )
