"""Whose turn it is: the highest priority first, and its clients one after the other.

Nothing in here does any I/O; the record tells it what joins, leaves and is handed out.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FairLane = tuple[int, str]
"""Priority and client of the jobs that wait in one line."""


@dataclass(slots=True)
class _Line:
    queued: int = 0  # jobs that are queued in the record
    handed: int = 0  # those of them that are on their way to a worker


class FairOrder:
    """Counts what waits in each lane and picks the lane to take the next job from."""

    def __init__(self) -> None:
        # The client whose turn is next stands first.
        self._priorities: dict[int, OrderedDict[str, _Line]] = {}

    def join(self, lane: FairLane, jobs: int = 1) -> None:
        """Count jobs that have been queued."""
        self._line(lane).queued += jobs

    def leave(self, lane: FairLane, *, handed: bool) -> None:
        """Count a job that is queued no longer; `handed` if it was on its way to a worker."""
        line = self._line(lane)
        line.queued -= 1
        line.handed -= handed
        self._drop_if_idle(lane)

    def give_back(self, lane: FairLane) -> None:
        """Count a job that was on its way and came back, queued or not."""
        self._line(lane).handed -= 1
        self._drop_if_idle(lane)

    def pick(self, may_begin: Callable[[str], bool] = lambda _client: True) -> FairLane | None:
        """Choose the lane whose turn it is and count its next job as handed out.

        A client that may not begin another job is passed over, and keeps its turn. None if no
        job waits that may be begun.
        """
        for priority in sorted(self._priorities, reverse=True):
            clients = self._priorities[priority]
            for client, line in clients.items():
                if line.queued > line.handed and may_begin(client):
                    line.handed += 1
                    clients.move_to_end(client)
                    return (priority, client)
        return None

    def handed(self, client: str) -> int:
        """Count the jobs of a client that are on their way to a worker."""
        lines = (clients.get(client) for clients in self._priorities.values())
        return sum(line.handed for line in lines if line is not None)

    def _line(self, lane: FairLane) -> _Line:
        priority, client = lane
        return self._priorities.setdefault(priority, OrderedDict()).setdefault(client, _Line())

    def _drop_if_idle(self, lane: FairLane) -> None:
        priority, client = lane
        line = self._line(lane)
        # One that was cancelled while it was being picked is still to be given back.
        if not line.queued and not line.handed:
            del self._priorities[priority][client]
            if not self._priorities[priority]:
                del self._priorities[priority]
