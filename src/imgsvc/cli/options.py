"""Options that several commands share, and the commands that talk to a running server."""

import argparse
import asyncio
from datetime import UTC, datetime
from pathlib import Path

from imgsvc.cli.times import parse_since

# The words of `jobs.models`, which would take a second to import for `--help`.
STATES = ("queued", "running", "completed", "completed_with_errors", "failed", "cancelled")
KINDS = ("image_to_base64", "image_to_storage", "batch")
CALLBACKS = ("none", "pending", "delivered", "dead")
GROUPINGS = ("client", "model", "day")


def add_config(parser: argparse.ArgumentParser, default: str | None = argparse.SUPPRESS) -> None:
    """Add --config."""
    # A command's own default would hide the option given in front of the command.
    parser.add_argument(
        "--config", type=Path, default=default, metavar="FILE", help="configuration in TOML"
    )


def add_jobs_commands(parser: argparse.ArgumentParser) -> None:
    """Add what `imgsvc jobs` can do."""
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = parts.add_parser("list", help="list the newest jobs")
    listing.add_argument("--state", choices=STATES, help="only those in this state")
    listing.add_argument("--kind", choices=KINDS, help="only those of this kind")
    listing.add_argument("--callback", choices=CALLBACKS, help="only those with such a callback")
    _add_since(listing)
    listing.add_argument(
        "--limit", type=_positive, default=50, metavar="N", help="at most so many (%(default)s)"
    )
    _talks(listing, "jobs list")

    show = parts.add_parser("show", help="show all that is known of a job")
    show.add_argument("job_id", metavar="ID")
    _talks(show, "jobs show")

    cancel = parts.add_parser("cancel", help="cancel jobs that have not ended")
    cancel.add_argument("job_ids", nargs="+", metavar="ID")
    _talks(cancel, "jobs cancel")

    retry = parts.add_parser("retry", help="do jobs without a whole result again, as new ones")
    retry.add_argument("job_ids", nargs="+", metavar="ID")
    _talks(retry, "jobs retry")


def add_callbacks_commands(parser: argparse.ArgumentParser) -> None:
    """Add what `imgsvc callbacks` can do."""
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    redeliver = parts.add_parser("redeliver", help="deliver callbacks once more")
    which = redeliver.add_mutually_exclusive_group(required=True)
    which.add_argument("job_ids", nargs="*", default=[], metavar="ID", help="of these jobs")
    which.add_argument("--dead", action="store_true", help="all that were given up")
    _add_since(redeliver)
    _talks(redeliver, "callbacks redeliver")


def add_usage_options(parser: argparse.ArgumentParser) -> None:
    """Add what `imgsvc usage` can be asked for."""
    parser.add_argument(
        "--from", dest="first", metavar="DAY", help="the first day, like 2026-11-01 (UTC)"
    )
    parser.add_argument("--to", dest="last", metavar="DAY", help="the last day (default: today)")
    parser.add_argument(
        "--group-by", choices=GROUPINGS, default="day", help="what a line is for (%(default)s)"
    )
    _talks(parser, "usage", json="JSON, for programs: one document")


def add_audit_options(parser: argparse.ArgumentParser) -> None:
    """Add what `imgsvc audit` can be asked for."""
    parser.add_argument("--actor", metavar="CLIENT", help="only what this one did")
    parser.add_argument("--action", metavar="ACTION", help="only this, like job.cancel")
    parser.add_argument("--target", metavar="ID", help="only what was done to this job or key")
    parser.add_argument(
        "--outcome", metavar="CODE", help="only what ended so: done, or job_not_found, say"
    )
    _add_since(parser, "only what was done since then")
    parser.add_argument(
        "--until", type=_since, metavar="TIME", help="only what was done before then"
    )
    parser.add_argument(
        "--limit", type=_positive, default=50, metavar="N", help="at most so many (%(default)s)"
    )
    _talks(parser, "audit", json="JSON, for programs; one row a line")


def _add_since(
    parser: argparse.ArgumentParser, what: str = "only of jobs accepted since then"
) -> None:
    parser.add_argument(
        "--since",
        type=_since,
        metavar="TIME",
        help=f"{what}: 2h or 3d ago, or a time like 2026-11-25T08:00",
    )


def _talks(
    parser: argparse.ArgumentParser, command: str, json: str = "JSON, for programs; one job a line"
) -> None:
    """Add the options of all commands that talk to a server, and what runs this one."""
    add_config(parser)
    parser.add_argument(
        "--server",
        metavar="URL",
        help="the running server (default: where the configuration has it listen, on this machine)",
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="where the API key is (default: the variable IMGSVC_API_KEY has the key itself)",
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help=json)
    parser.set_defaults(run=_talk, command=command)


def _talk(arguments: argparse.Namespace) -> int:
    from imgsvc.cli.jobs import COMMANDS, run  # noqa: PLC0415 - as in the package: if needed

    return asyncio.run(run(COMMANDS[arguments.command], arguments))


def _since(text: str) -> datetime:
    try:
        return parse_since(text, datetime.now(UTC))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _positive(text: str) -> int:
    number = int(text)  # argparse names the option in what it makes of a ValueError
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
