"""`imgsvc check`: whether the configuration is right, and what it names answers."""

import sys
from pathlib import Path

from imgsvc.cli.checks.access import check_access
from imgsvc.cli.checks.configured import check_configured
from imgsvc.cli.checks.connected import check_callback, check_connected
from imgsvc.cli.checks.report import Report
from imgsvc.config import load_settings, secret_values
from imgsvc.errors import ConfigurationError
from imgsvc.logs import LogsConfig, configure_logging


async def check(config: Path | None, *, connect: bool, callback_url: str | None) -> int:
    """Print what is right and what is wrong; return 0 if nothing is wrong, else 1.

    With `connect`, try the image processes, the storage, the image APIs, moderation and the
    token keys; with `callback_url`, the receiver there.
    """
    report = Report()
    try:
        settings = load_settings(config)
    except ConfigurationError as exc:
        for problem in exc.problems:
            report.fail(problem)
        return 1
    # Events would only clutter the report, which says the same in words.
    configure_logging(LogsConfig(level="error"), secrets=secret_values(settings), stream=sys.stderr)
    check_configured(settings, report)
    check_access(settings, report)
    if connect:
        await check_connected(settings, report)
    if callback_url is not None:
        await check_callback(settings, callback_url, report)
    return 1 if report.failed else 0
