"""What all errors have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldError:
    """One wrong field of a request: where it is and what is wrong with it."""

    field: str
    message: str


class ImgsvcError(Exception):
    """The service met an unexpected error. Try again; if it stays, tell the operator."""

    status: int = 500  # HTTP status of the problem document
    code: str = "internal_error"  # stable, for programs
    title: str = "Internal error"  # stable, for people
    retryable: ClassVar[bool] = False  # may the same request work later?
    retry_after: float | None = None  # seconds to wait before it
    after_answer: bool = False  # an image API had answered by then: it may have billed the edit

    def __init__(self, message: str | None = None) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        super().__init__(self.message)

    @property
    def kind(self) -> str:
        """The word before the colon in a callback's ``error``."""
        return type(self).__name__


def describe(exc: BaseException) -> str:
    """Return ``Kind: what happened and what to do``, the ``error`` line of a callback.

    Exceptions from outside the tree are bugs or surprises: their text may hold
    anything, so it stays in the server's log and the caller gets a neutral line.
    """
    error = exc if isinstance(exc, ImgsvcError) else ImgsvcError()
    kind = "InternalError" if type(error) is ImgsvcError else error.kind
    return f"{kind}: {error.message}"


class ConfigurationError(ImgsvcError):
    """The configuration cannot be used."""

    code = "configuration_error"
    title = "Configuration error"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))
