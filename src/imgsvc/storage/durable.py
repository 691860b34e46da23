"""Folders that survive a power cut. Everything here blocks: call it in a thread."""

import os
from pathlib import Path


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, each of them safe against a power cut."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Return when what was made, renamed or removed in the folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
