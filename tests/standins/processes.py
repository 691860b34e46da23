"""What /proc says about processes."""

import os
from pathlib import Path


def children_of_this_process() -> set[int]:
    """Return the process ids of the running image processes this process has started."""
    return children_of(os.getpid())


def children_of(parent: int) -> set[int]:
    """Return the process ids of the running image processes a process has started."""
    return {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _is_image_process(entry, parent)
    }


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead but not yet reaped does not."""
    try:
        return _state(Path(f"/proc/{pid}")) not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_image_process(entry: Path, parent: int) -> bool:
    try:
        command = (entry / "cmdline").read_bytes()
        started_by = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return False
    return started_by == parent and b"spawn_main" in command


def _state(entry: Path) -> str:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0]
