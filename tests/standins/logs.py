"""Log lines as a test can look at them."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from imgsvc.logs import AUDIT_LOGGER, LogsConfig, configure_logging


class Lines:
    """What was logged since the last look."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def text(self) -> str:
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_constant=pytest.fail) for line in self.text().splitlines()]

    def one(self) -> dict[str, Any]:
        [line] = self.all()
        return line


Configure = Callable[..., Lines]


def configure(*, secrets: tuple[str, ...] = (), **config: Any) -> Lines:
    """Configure logging with these settings, and return where its lines go."""
    lines = Lines()
    configure_logging(LogsConfig(**config), secrets=secrets, stream=lines.stream)
    return lines


@contextmanager
def logging_of_our_own() -> Iterator[Configure]:
    """Yield `configure`; in the end pytest gets its handlers back."""
    root, ours = logging.getLogger(), logging.getLogger("imgsvc")
    audit = logging.getLogger(AUDIT_LOGGER)
    handlers, levels, form = root.handlers, (root.level, ours.level), warnings.formatwarning
    numbers = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
    names = [logging.getLevelName(number) for number in numbers]
    # The importer of watsonx Orchestrate, which other tests use, paints them in colours.
    for number, name in zip(numbers, ("DEBUG", "INFO", "WARNING", "ERROR"), strict=True):
        logging.addLevelName(number, name)
    try:
        yield configure
    finally:
        root.handlers = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        for file in audit.handlers:
            file.close()
        audit.handlers, audit.propagate = [], True
        audit.setLevel(logging.NOTSET)
        for number, name in zip(numbers, names, strict=True):
            logging.addLevelName(number, name)
        warnings.formatwarning = form
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
