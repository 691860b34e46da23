"""The socket that takes connections: no more at once than there is room for.

The count is kept where sockets are made and closed, not by HTTP connections: one that is still
at its TLS handshake, or waits for the rest of an answer to be taken, uses up a file, too.
"""

import asyncio
import resource
import socket
import struct
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from time import monotonic
from typing import Any
from weakref import WeakSet

import structlog

log = structlog.get_logger(__name__)

BACKLOG = 1024
"""Connections that may wait for the event loop to take them."""

FILES_PER_CONNECTION = 2
"""Its socket, and what it sends or receives."""

OTHER_FILES = 256
"""Of the record, the jobs, their callbacks and calls."""

REPORT_INTERVAL = 10.0
"""Seconds between two log lines about refused connections, of which there may be very many."""

LEAST_TAKEN = 16 * 1024
"""Bytes that a peer must take between two looks, unless less was waiting."""

_QUEUE = struct.Struct("i")  # what TIOCOUTQ tells: bytes not acknowledged yet, tcp(7)
_ACKED = struct.Struct("120xQ")  # tcpi_bytes_acked in struct tcp_info, linux/tcp.h
_NO_LINGER = struct.pack("ii", 1, 0)  # struct linger, socket(7)


def room_for_connections(wanted: int) -> int:
    """Return how many connections the process may have at once, `wanted` at most.

    The system's limit of open files decides, if it is low.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (files - OTHER_FILES) // FILES_PER_CONNECTION))


class Listener(socket.socket):
    """Takes connections up to a number, and closes further ones as they come."""

    def __init__(self, bound: socket.socket, *, limit: int) -> None:
        """Take over a bound socket."""
        super().__init__(bound.family, bound.type, bound.proto, fileno=bound.detach())
        self._limit = limit
        # Weak: a socket that is lost before anybody has it, and so is never closed, must not stay.
        self._open: WeakSet[_Taken] = WeakSet()
        self._refused = 0
        self._reported = -float("inf")

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection and its address; raise ConnectionAbortedError for one too many."""
        connection, address = super().accept()
        if len(self._open) >= self._limit:
            connection.close()
            self._report()
            raise ConnectionAbortedError("there are as many connections as there may be")
        return _Taken(connection, self._open), address

    async def cut_off_readers(self, send_timeout: float) -> None:
        """Cut off who does not take what waits for it within so many seconds; until cancelled.

        Twice as long at most: this is how often it looks. No timer of the event loop sees a file
        that the kernel sends, or what a closed connection has not got rid of yet; and
        TCP_USER_TIMEOUT is put off by whatever the peer sends.
        """
        while True:
            await asyncio.sleep(send_timeout)
            stuck = [connection for connection in self._open if connection.is_stuck()]
            for connection in stuck:
                connection.cut_off()
            if stuck:
                log.info("slow_connections_dropped", connections=len(stuck))

    def _report(self) -> None:
        self._refused += 1
        if (now := monotonic()) - self._reported >= REPORT_INTERVAL:
            log.warning("connections_refused", connections=self._refused, limit=self._limit)
            self._refused, self._reported = 0, now


class _Taken(socket.socket):
    """A connection that counts until it is closed."""

    def __init__(self, connection: socket.socket, all_open: "WeakSet[_Taken]") -> None:
        family, kind, proto = connection.family, connection.type, connection.proto
        super().__init__(family, kind, proto, fileno=connection.detach())
        self._all_open = all_open
        self._waiting = self._taken = 0  # bytes, at the last look
        all_open.add(self)

    def close(self) -> None:
        self._all_open.discard(self)
        super().close()

    def is_stuck(self) -> bool:
        """Tell whether the peer has taken too little since the last look of what waited then."""
        [waiting] = _QUEUE.unpack(ioctl(self.fileno(), TIOCOUTQ, bytes(_QUEUE.size)))
        [taken] = _ACKED.unpack(self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size))
        stuck = taken - self._taken < min(self._waiting, LEAST_TAKEN)
        self._waiting, self._taken = waiting, taken
        return bool(stuck)

    def cut_off(self) -> None:
        """Have whoever reads or writes here find it closed, and drop what waits."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        with suppress(OSError):  # the peer was faster
            self.shutdown(socket.SHUT_RDWR)
