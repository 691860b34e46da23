"""The options of `imgsvc keys`."""

import argparse
import asyncio
import re
from datetime import timedelta

from imgsvc.cli.options import add_config
from imgsvc.cli.times import parse_span
from imgsvc.web.auth.client_names import CLIENT_PATTERN

ROLES = ("submit", "read", "operate", "admin")
"""The words of `web.auth.roles`, which would take a second to import for `--help`."""


def add_keys_commands(parser: argparse.ArgumentParser) -> None:
    """Add what `imgsvc keys` can do."""
    parser.description = (
        "Works on the data folder of the configuration, whether or not a server is running"
        " there: run it as the server's user. A running server knows of a change at once."
    )
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    create = parts.add_parser("create", help="make a key, and print it this once")
    create.add_argument("--client", type=_client, required=True, metavar="NAME", help="whose it is")
    create.add_argument(
        "--roles",
        type=_roles,
        required=True,
        metavar="ROLE,...",
        help=f"what it may do: {', '.join(ROLES)}",
    )
    create.add_argument(
        "--expires",
        type=_span,
        metavar="SPAN",
        help="how long it works, like 90d (default: it never ends)",
    )
    _works(create, "create")

    _works(parts.add_parser("list", help="list all keys, without their secrets"), "list")

    revoke = parts.add_parser("revoke", help="end keys at once and for good")
    revoke.add_argument("key_ids", nargs="+", metavar="ID")
    _works(revoke, "revoke")

    rotate = parts.add_parser("rotate", help="make a key that takes the place of another")
    rotate.add_argument("key_id", metavar="ID")
    rotate.add_argument(
        "--overlap",
        type=_span,
        default=timedelta(hours=24),
        metavar="SPAN",
        help="how long the old one still works (default: 24h)",
    )
    rotate.add_argument(
        "--expires",
        type=_life,
        metavar="SPAN",
        help="how long the new one works, or `never` (default: as long as the old one was to)",
    )
    _works(rotate, "rotate")


def _works(parser: argparse.ArgumentParser, command: str) -> None:
    add_config(parser)
    parser.set_defaults(run=_run, command=command)


def _run(arguments: argparse.Namespace) -> int:
    from imgsvc.cli.keys import COMMANDS, run  # noqa: PLC0415 - as in the package: if needed

    return asyncio.run(run(COMMANDS[arguments.command], arguments))


def _client(text: str) -> str:
    if re.fullmatch(CLIENT_PATTERN, text) is None:
        raise argparse.ArgumentTypeError(
            "takes 1 to 64 letters, digits and . _ @ -, the first a letter or digit"
        )
    return text


def _roles(text: str) -> tuple[str, ...]:
    roles = tuple(text.split(","))
    if unknown := [role for role in roles if role not in ROLES]:
        raise argparse.ArgumentTypeError(
            f"there is no role {unknown[0]!r}; there are {', '.join(ROLES)}"
        )
    return roles


def _life(text: str) -> timedelta | str:
    return text if text == "never" else _span(text)


def _span(text: str) -> timedelta:
    try:
        return parse_span(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
