"""What was found, a line for each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imgsvc.errors import ImgsvcError, describe


@dataclass(slots=True)
class Report:
    """Prints a line for every check and counts those that failed."""

    failed: int = 0

    def ok(self, what: str) -> None:
        """Say what is right."""
        print(f"ok    {what}")

    def note(self, what: str) -> None:
        """Say what is odd, but may be meant."""
        print(f"note  {what}")

    def fail(self, what: str) -> None:
        """Say what is wrong."""
        self.failed += 1
        print(f"FAIL  {what}")

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Report the block as done, or what it raised."""
        try:
            yield
        except ImgsvcError as exc:
            self.fail(f"{what}: {describe(exc)}")
        else:
            self.ok(what)
