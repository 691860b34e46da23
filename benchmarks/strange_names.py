"""The server in a world where names lead where an attacker likes: a stand-in for DNS.

    python benchmarks/strange_names.py serve

The first part of a name tells what it resolves to, see `ANSWERS`; no other name is known.
"""

import socket
from collections import Counter
from unittest.mock import patch

from aiohttp.abc import AbstractResolver, ResolveResult

OUTSIDE, INSIDE = "127.0.0.2", "127.0.0.1"
"""The server is told to take the first for public; the other is what it must not call."""

ANSWERS = {
    "outside": [[OUTSIDE]],
    "inside": [[INSIDE]],
    "mixed": [[OUTSIDE, INSIDE]],
    "turning": [[OUTSIDE], [INSIDE]],  # the last one again and again
}


class StrangeNames(AbstractResolver):
    """Gives each name the answers that the first part of it stands for."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of this look-up; raise OSError for an unknown name."""
        del family
        answers = ANSWERS.get(host.partition("-")[0])
        if answers is None:
            raise OSError(f"{host} is not known")
        addresses = answers[min(self._asked[host], len(answers) - 1)]
        self._asked[host] += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Close nothing."""


if __name__ == "__main__":
    from imgsvc.cli import main

    with patch("aiohttp.DefaultResolver", StrangeNames):
        main()
