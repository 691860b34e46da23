"""What /proc says about processes."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def children_of_this_process() -> set[int]:
    """Return the process ids of the running image processes this process has started."""
    return children_of(os.getpid())


def children_of(server: int) -> set[int]:
    """Return the process ids of the running image processes a process has started.

    They are children of the child that they are forked from, and have its command line.
    """
    started_by = dict(_forked())
    return {pid for pid, parent in started_by.items() if started_by.get(parent) == server}


def parent_of(pid: int) -> int:
    """Return the number of the process that has started another one."""
    return int(_status(Path(f"/proc/{pid}"))[1])


def resident_bytes(pid: int) -> int:
    """Return the memory of a process and all it has started; shared pages count once."""
    total = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            total += sum(resident_bytes(int(child)) for child in children)
    return total


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead but not yet reaped does not."""
    try:
        return _status(Path(f"/proc/{pid}"))[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def _forked() -> Iterator[tuple[int, int]]:
    """Yield the numbers of fork servers and what they forked, each with its parent's."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                if b"multiprocessing.forkserver" in (entry / "cmdline").read_bytes():
                    yield int(entry.name), parent_of(int(entry.name))


def _status(entry: Path) -> list[str]:
    """Return the fields of a process's status behind its name: state, parent's number and so on."""
    return (entry / "stat").read_text().rpartition(")")[2].split()


def resident(pid: int) -> int:
    """Return the memory that a process has at the moment, in bytes."""
    return _memory(pid, "VmRSS")


def most_resident(pid: int) -> int:
    """Return the most memory that a process had since `forget_most_resident`, in bytes."""
    return _memory(pid, "VmHWM")


def forget_most_resident(pid: int) -> None:
    """Have the kernel begin anew with what `most_resident` tells (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
