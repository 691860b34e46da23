"""`imgsvc keys`: the keys with which callers prove who they are."""

import sys
from argparse import Namespace
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from imgsvc.cli.tables import plain, table
from imgsvc.config import load_settings
from imgsvc.jobs.api_keys import ApiKey, ApiKeys
from imgsvc.web.auth.api_keys import new_key
from imgsvc.web.auth.roles import Role

Command = Callable[[ApiKeys, Namespace], Coroutine[Any, Any, int]]
"""Does what the options say, and returns the exit code."""


async def run(command: Command, arguments: Namespace) -> int:
    """Run a command on the data folder of the configuration; raise ConfigurationError."""
    settings = load_settings(arguments.config)
    async with settings.backend.open_api_keys(settings.data_dir) as keys:
        return await command(keys, arguments)


async def create(keys: ApiKeys, arguments: Namespace) -> int:
    """Make a key, and print it."""
    while True:
        kept, key = new_key(
            arguments.client,
            [Role(name) for name in arguments.roles],
            expires_at=_from_now(arguments.expires),
        )
        if await keys.add(kept):  # else the id is taken, by one chance in 10 to the 15th
            break
    _hand_over(key)
    return 0


async def list_keys(keys: ApiKeys, _arguments: Namespace) -> int:
    """Print a line a key."""
    titles = ("KEY", "CLIENT", "ROLES", "STATE", "CREATED", "EXPIRES", "LAST USED")
    now = datetime.now(UTC)
    rows = [
        (
            key.id,
            key.client,
            ",".join(sorted(key.roles)),
            _state(key, now),
            _time(key.created_at),
            _time(key.expires_at),
            _time(key.last_used_at),
        )
        for key in await keys.list()
    ]
    print(table(titles, rows) if rows else "There are no keys.", flush=True)
    return 0


async def revoke(keys: ApiKeys, arguments: Namespace) -> int:
    """End keys; return 1 if one of them is not known."""
    code = 0
    for key_id in arguments.key_ids:
        if await keys.revoke(key_id, datetime.now(UTC)):
            print(f"{plain(key_id)}  revoked", flush=True)
        else:
            _unknown(key_id)
            code = 1
    return code


async def rotate(keys: ApiKeys, arguments: Namespace) -> int:
    """Make a key of the same client and roles, and let the old one end after the overlap."""
    old = await keys.find(arguments.key_id)
    if old is None:
        _unknown(arguments.key_id)
        return 1
    until = datetime.now(UTC) + arguments.overlap
    roles = [role for role in Role if role in old.roles]
    kept, key = new_key(old.client, roles, expires_at=_from_now(arguments.expires))
    if not await keys.replace(old.id, kept, until):
        print(f"{old.id} is revoked: make a new key with `imgsvc keys create`.", file=sys.stderr)
        return 1
    _hand_over(key)
    print(f"The old one works until {_time(until)} at the latest.", file=sys.stderr)
    return 0


COMMANDS: Mapping[str, Command] = {
    "create": create,
    "list": list_keys,
    "revoke": revoke,
    "rotate": rotate,
}


def _hand_over(key: str) -> None:
    print(key, flush=True)
    print("Keep it safe now: it is shown this once, and nobody can look it up.", file=sys.stderr)


def _unknown(key_id: str) -> None:
    print(f"There is no key {plain(key_id)}: `imgsvc keys list` has them.", file=sys.stderr)


def _from_now(span: timedelta | None) -> datetime | None:
    return None if span is None else datetime.now(UTC) + span


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "valid"


def _time(time: datetime | None) -> str:
    return "" if time is None else time.strftime("%Y-%m-%d %H:%MZ")
