"""A stand-in for Ghostscript that tells whether it was ever run."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GhostscriptTrap:
    """A folder to put first in PATH, whose `gs` leaves a mark."""

    folder: Path

    @property
    def mark(self) -> Path:
        """The file that is there once the program was run."""
        return self.folder / "was-run"

    @property
    def was_run(self) -> bool:
        return self.mark.exists()


@contextmanager
def ghostscript_trap(parent: Path) -> Iterator[GhostscriptTrap]:
    """Yield a trap that was tried out: its program leaves the mark when it is run."""
    trap = GhostscriptTrap(parent / "trap")
    trap.folder.mkdir()
    program = trap.folder / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{trap.mark}'\n")
    program.chmod(0o755)
    path = f"{trap.folder}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["gs", "--version"], env={"PATH": path}, check=True)  # noqa: S607 - found by PATH, as Pillow does
    assert trap.was_run
    trap.mark.unlink()
    yield trap
