"""`imgsvc keys`: the keys with which callers prove who they are."""

import os
import pwd
import sys
from argparse import Namespace
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from imgsvc.cli.tables import plain, table
from imgsvc.config import load_settings, secret_values
from imgsvc.errors import ApiKeyNotFound, ApiKeyRevoked
from imgsvc.jobs.audit import CLI_ACTOR, Actor
from imgsvc.logs import configure_logging
from imgsvc.web.auth.key_ring import KeyRing, NewKey, key_state
from imgsvc.web.auth.roles import Role

Command = Callable[[KeyRing, Namespace], Coroutine[Any, Any, int]]
"""Does what the options say, and returns the exit code."""


async def run(command: Command, arguments: Namespace) -> int:
    """Run a command on the data folder of the configuration; raise ConfigurationError."""
    settings = load_settings(arguments.config)
    # Standard output is for the key. On the terminal nobody needs the line of the audit log.
    quiet = settings.logs.model_copy(update={"level": "warning"})
    configure_logging(quiet, secrets=secret_values(settings), stream=sys.stderr)
    async with settings.backend.open_api_keys(settings.data_dir) as keys:
        code = await command(KeyRing(keys), arguments)
    if command is create and not settings.auth.takes_keys:
        print(
            'The server asks for no key yet: auth.mode takes none. Set auth.mode = "api_key".',
            file=sys.stderr,
        )
    return code


async def create(keys: KeyRing, arguments: Namespace) -> int:
    """Make a key, and print it."""
    made = await keys.create(
        arguments.client,
        [Role(name) for name in arguments.roles],
        expires_at=_from_now(arguments.expires),
        by=_operator(),
    )
    _hand_over(made)
    return 0


async def list_keys(keys: KeyRing, _arguments: Namespace) -> int:
    """Print a line a key."""
    titles = ("KEY", "CLIENT", "ROLES", "STATE", "CREATED", "EXPIRES", "LAST USED")
    now = datetime.now(UTC)
    rows = [
        (
            key.id,
            key.client,
            ",".join(sorted(key.roles)),
            key_state(key, now),
            _time(key.created_at),
            _time(key.expires_at),
            _time(key.last_used_at),
        )
        for key in await keys.list()
    ]
    print(table(titles, rows) if rows else "There are no keys.", flush=True)
    return 0


async def revoke(keys: KeyRing, arguments: Namespace) -> int:
    """End keys; return 1 if one of them is not known."""
    code = 0
    for key_id in arguments.key_ids:
        try:
            await keys.revoke(key_id, by=_operator())
        except ApiKeyNotFound:
            _unknown(key_id)
            code = 1
        else:
            print(f"{plain(key_id)}  revoked", flush=True)
    return code


async def rotate(keys: KeyRing, arguments: Namespace) -> int:
    """Make a key of the same client and roles, and let the old one end after the overlap."""
    try:
        made = await keys.rotate(
            arguments.key_id,
            overlap=arguments.overlap,
            expires_at="never" if arguments.expires == "never" else _from_now(arguments.expires),
            by=_operator(),
        )
    except ApiKeyNotFound:
        _unknown(arguments.key_id)
        return 1
    except ApiKeyRevoked:
        key_id = plain(arguments.key_id)
        print(f"{key_id} is revoked: make a new key with `imgsvc keys create`.", file=sys.stderr)
        return 1
    _hand_over(made)
    until = _time(_from_now(arguments.overlap))
    print(f"The old one works until {until} at the latest.", file=sys.stderr)
    return 0


COMMANDS: Mapping[str, Command] = {
    "create": create,
    "list": list_keys,
    "revoke": revoke,
    "rotate": rotate,
}


def _hand_over(made: NewKey) -> None:
    print(made.text, flush=True)
    print("Keep it safe now: it is shown this once, and nobody can look it up.", file=sys.stderr)
    until = _time(made.kept.expires_at) or "it is revoked"
    print(f"It works until {until}.", file=sys.stderr)


def _unknown(key_id: str) -> None:
    print(f"There is no key {plain(key_id)}: `imgsvc keys list` has them.", file=sys.stderr)


def _from_now(span: timedelta | None) -> datetime | None:
    return None if span is None else datetime.now(UTC) + span


def _operator() -> Actor:
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:  # in a container, say
        name = str(user)
    return Actor(name=f"{CLI_ACTOR}{name}", proof="cli")


def _time(time: datetime | None) -> str:
    return "" if time is None else time.strftime("%Y-%m-%d %H:%MZ")
