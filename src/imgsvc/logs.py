"""Logging: one JSON line an event on stdout, readable lines on a terminal.

Events are stable names with fields (``job_finished``), never sentences. What is bound
with ``structlog.contextvars`` (client, job_id, request_id) is on every line of that task,
and the lines of libraries that use the standard library's logging take the same way out.
The audit log can have a file of its own.

An exception is written as its type and the functions it passed through. The text of
foreign exceptions and source paths are left out, because they may hold a caller's
data or tell about the machine.
"""

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Literal, TextIO

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field
from structlog.typing import EventDict, Processor, WrappedLogger

from imgsvc.audit_file import AuditFile
from imgsvc.errors import ImgsvcError, describe
from imgsvc.redaction import SHORTEST, longest_first, without

AUDIT_LOGGER = "imgsvc.audit"
"""The logger of the audit log."""

_MAX_TEXT = 10_000  # characters of one value
_MAX_ITEMS = 1_000  # entries of one list or table
_MAX_DEPTH = 10  # tables within tables
_MAX_CHAIN = 5  # exceptions that led to each other, or came in one group
_MAX_FRAMES = 12  # functions an exception passed through, the innermost ones
_MAX_SECRETS = 1_000  # that are looked for in each value, unless more are in force
_MAX_INTEGER = 2**63 - 1  # what every reader of JSON can hold


class LogsConfig(BaseModel):
    """How the service tells what it does."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="Least severe event to write. Prompts and pictures are never written.",
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is `console` on a terminal and `json` everywhere else."
    )
    audit_file: Path | None = Field(
        None,
        description=(
            "File to which the audit log is appended, as JSON and whatever `logs.level` is; opened"
            " anew when it was moved. Unset, its lines stand among the others."
        ),
    )


def configure_logging(
    config: LogsConfig, *, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Send every log line of this process to stream (stdout) in the configured form.

    `secrets` are values that must never be seen: should one turn up in a line in spite
    of all care, it is replaced.
    """
    stream = stream or sys.stdout
    console = config.format == "console" or (config.format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _summarise_exception,
    ]
    renderers: list[Processor] = (
        [_exception_as_text, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if console
        else [_render_json]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    cleaner = _Cleaner(secrets)

    def formatter(*renderers: Processor) -> logging.Formatter:
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_keep_first_line, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                cleaner,
                *renderers,
            ],
        )

    handler = _Handler(stream, cleaner)
    handler.setFormatter(formatter(*renderers))
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries speak up from warning on: below that they print headers and payloads.
    root.setLevel(logging.WARNING if config.level in {"debug", "info"} else config.level.upper())
    logging.getLogger("imgsvc").setLevel(config.level.upper())
    audit = logging.getLogger(AUDIT_LOGGER)
    for former in audit.handlers:
        former.close()
    if config.audit_file is None:
        audit.handlers, audit.propagate, level = [], True, logging.NOTSET
    else:
        file = AuditFile(config.audit_file, instead=handler)
        file.setFormatter(formatter(_render_json))
        audit.handlers, audit.propagate, level = [file], False, logging.INFO
    audit.setLevel(level)
    warnings.formatwarning = _format_warning
    logging.captureWarnings(capture=True)


def audit_file() -> AuditFile | None:
    """Return the file of the audit log that `configure_logging` has set, if any."""
    files = logging.getLogger(AUDIT_LOGGER).handlers
    return next((file for file in files if isinstance(file, AuditFile)), None)


def redact_too(secrets: Iterable[str]) -> None:
    """Replace further secrets in the lines of this process, as `configure_logging` does."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.cleaner.learn(secrets)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream; of one that fails it tells no more than that it did."""

    def __init__(self, stream: TextIO, cleaner: "_Cleaner") -> None:
        super().__init__(stream)
        self.cleaner = cleaner

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the name and signature are logging's
        """Say on stderr which type of error it was.

        logging itself would print the event as it was given, with source paths and what
        the cleaner takes out.
        """
        exc = sys.exc_info()[1]
        if sys.stderr is not None and exc is not None:
            with suppress(OSError):
                sys.stderr.write(f"imgsvc: a log line was lost ({_type_name(exc)})\n")


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event).decode()


class _Cleaner:
    """Makes all values plain: any form can show them, no line breaks, no secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._learnt: dict[str, None] = {}  # the latest last
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Take these secrets out as well; of very many, the earliest are forgotten."""
        known = {
            part
            for secret in secrets
            for part in (secret, *secret.splitlines())
            if len(part) >= SHORTEST
        }
        # The repr of an object, of bytes say, shows special characters in another way.
        known |= {repr(form)[skip:-1] for s in known for form, skip in ((s, 1), (s.encode(), 2))}
        earlier = [secret for secret in self._learnt if secret not in known]
        kept = max(len(known), _MAX_SECRETS)
        self._learnt = dict.fromkeys([*earlier, *known][-kept:])
        self._secrets = longest_first(self._learnt)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {_printable(name): self._clean(value) for name, value in event.items()}

    def _clean(self, value: object) -> Any:
        try:
            return self._plain(value, _MAX_DEPTH)
        except Exception:  # noqa: BLE001 - a repr can raise anything; the event must come out
            return f"<{type(value).__qualname__}>"

    def _plain(self, value: object, depth: int) -> Any:
        """Return value as text, number, None, or lists and tables of these."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int) and abs(value) <= _MAX_INTEGER:
            return int(value)
        if depth and isinstance(value, Mapping):
            items = islice(value.items(), _MAX_ITEMS)
            return {self._text(key): self._plain(item, depth - 1) for key, item in items}
        if depth and isinstance(value, list | tuple | set | frozenset):
            return [self._plain(item, depth - 1) for item in islice(value, _MAX_ITEMS)]
        return self._text(value)

    def _text(self, value: object) -> str:
        text = without(_as_text(value), self._secrets)
        if len(text) > _MAX_TEXT:
            text = f"{text[:_MAX_TEXT]}… ({len(text):,} characters)"
        return _printable(text)


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration's member, its value
    if isinstance(value, ImgsvcError):
        return describe(value)
    return _type_name(value) if isinstance(value, BaseException) else repr(value)


def _printable(text: str) -> str:
    """Return text with all else escaped: control characters could forge lines or colours.

    Lone surrogates go the same way; they have no UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _keep_first_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut a library's message after its first line: asyncio's go on with dumps of objects."""
    event["event"] = str(event["event"]).strip().partition("\n")[0]
    return event


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,  # noqa: ARG001 - the signature is that of warnings.formatwarning
) -> str:
    """Return a Python warning in one line, without the folder of its source."""
    return f"{category.__name__}: {message} ({PurePath(filename).name}:{lineno})"


def _summarise_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace ``exc_info`` by ``exception``: the chain of types and where each came from."""
    event.pop("stack_info", None)  # it is full of source paths
    exc_info = event.pop("exc_info", None)
    exc: BaseException | None
    if exc_info is True:
        exc = sys.exc_info()[1]
    elif isinstance(exc_info, tuple):
        exc = exc_info[1]
    else:
        exc = exc_info if isinstance(exc_info, BaseException) else None
    if exc is not None:
        event["exception"] = _chain(exc, groups=2)
    return event


def _chain(exc: BaseException | None, groups: int) -> list[dict[str, object]]:
    """Return an exception and what led to it; `groups` is how deep to look into groups."""
    chain: list[dict[str, object]] = []
    while exc is not None and len(chain) < _MAX_CHAIN:
        entry: dict[str, object] = {"type": _type_name(exc)}
        if isinstance(exc, ImgsvcError):
            entry["message"] = exc.message
        entry["where"] = _frames(exc.__traceback__)
        if groups and isinstance(exc, BaseExceptionGroup):
            entry["group"] = [_chain(part, groups - 1) for part in exc.exceptions[:_MAX_CHAIN]]
        chain.append(entry)
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    return chain


def _exception_as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Turn the summary of an exception into lines, which is what a terminal can show."""
    if isinstance(summary := event.get("exception"), list):
        event["exception"] = "\n".join(_lines(summary, "  "))
    return event


def _lines(chain: list[dict[str, Any]], indent: str) -> Iterator[str]:
    """Yield an exception and what led to it; all but the first line of a group is indented."""
    for number, entry in enumerate(chain):
        message = f": {entry['message']}" if "message" in entry else ""
        yield f"{indent}{'caused by ' if number else ''}{entry['type']}{message}"
        yield from (f"{indent}    {place}" for place in entry["where"])
        for part in entry.get("group", ()):
            yield from _lines(part, f"{indent}  | ")


def _type_name(exc: BaseException) -> str:
    return f"{type(exc).__module__}.{type(exc).__qualname__}"


def _frames(traceback: TracebackType | None) -> list[str]:
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = traceback.tb_frame.f_globals.get("__name__", "?")
        frames.append(f"{module}:{code.co_qualname}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return frames[-_MAX_FRAMES:]
