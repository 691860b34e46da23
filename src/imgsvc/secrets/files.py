"""Secrets in files, one a setting, as Docker, Kubernetes and systemd hand them over."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imgsvc.errors import ConfigurationError

SETTLED = 1.0
"""Seconds without a change after which files count as whole."""

_PATIENCE = 10
"""How often files are looked at that change all the time."""


_MAX_BYTES = 2**20
"""Of all files of a folder together; as much as a Secret of Kubernetes can hold."""


def read_secret_files(folder: Path) -> dict[str, str]:
    """Return what the files room__key of the folder hold; an empty file sets nothing.

    Files without `__` in their name are somebody else's. Raises ConfigurationError if one, or
    the folder, cannot be read.
    """
    try:
        files = sorted(file for file in folder.iterdir() if _is_setting(file.name))
    except OSError as exc:
        raise ConfigurationError([f"secrets_dir: {folder} cannot be read"]) from exc
    texts: dict[str, str] = {}
    left = _MAX_BYTES
    for file in files:
        try:
            data = _read(file, left + 1)
            # Editors of Windows put a mark in front, which is no part of the value.
            texts[file.name] = data.decode("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError([f"the secret file {file} cannot be read as text"]) from exc
        left -= len(data)
        if left < 0:
            raise ConfigurationError([f"the secret files in {folder} hold more than 1 MiB"])
    return {name: text for name, text in texts.items() if text}


def _is_setting(name: str) -> bool:
    return not name.startswith(".") and "__" in name[1:] and name.isprintable()


def _read(file: Path, limit: int) -> bytes:
    """Return the first bytes of a file, of a link's target; raise OSError if it is none."""
    if not file.is_file():
        raise FileNotFoundError(file)  # a pipe or device would be read without end
    with file.open("rb") as opened:
        return opened.read(limit)


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """The files of one folder."""

    folder: Path
    name: str = "files"

    async def read(self) -> Mapping[str, str]:
        """Return what the files hold once nobody writes to them.

        What was changed a moment ago may be half of a value, or one of two that belong
        together. Raises ConfigurationError.
        """
        for _ in range(_PATIENCE):
            texts, age = await asyncio.to_thread(self._look)
            if not 0 <= age < SETTLED:  # a negative one: the clock was set back
                return texts
            await asyncio.sleep(SETTLED - age)
        raise ConfigurationError([f"the secret files in {self.folder} change all the time"])

    def _look(self) -> tuple[dict[str, str], float]:
        """Return what is there, and the seconds since the last change."""
        texts = read_secret_files(self.folder)
        try:
            # After reading, so that a change meanwhile is seen. The folder's own is that of
            # Kubernetes, which puts a link in place of another.
            places = (self.folder, *(self.folder / name for name in texts))
            changed = max(place.stat().st_ctime for place in places)
        except OSError as exc:
            raise ConfigurationError([f"secrets_dir: {self.folder} cannot be read"]) from exc
        return texts, time.time() - changed
