"""The real server, which ends itself with SIGKILL at a kill point.

    python tests/standins/killable.py accept_committed:after:2

ends when it is behind its second commit of an accepted job. Without an argument it is
the server and nothing else.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # This file's own folder would hide the package `openai`.
    sys.path[0] = str(Path(__file__).parents[1])

from imgsvc import killpoints
from imgsvc.cli import main
from imgsvc.killpoints import KillPoint


def program(point: KillPoint, side: str, *, nth: int = 1) -> Sequence[str]:
    """Return Python's arguments for a server that dies at a point for the nth time."""
    return (__file__, f"{point}:{side}:{nth}")


def _arm(where: str) -> None:
    point, side, times = where.split(":")
    left = int(times)

    def hook(reached: KillPoint, at: str) -> None:
        nonlocal left
        if (reached, at) == (point, side):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    killpoints.arm(hook)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        _arm(argument)
    main([])
