"""Who has sent a request."""

from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from imgsvc.web.auth.roles import Role


class Proof(StrEnum):
    """How a caller has proved who it is."""

    NONE = "none"  # it had no need to
    API_KEY = "api_key"
    JWT = "jwt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """A caller: whose jobs it sends, and what it may do."""

    client: str
    roles: frozenset[Role]
    proof: Proof
    key_id: str | None = None  # of an API key

    @property
    def sees_only(self) -> str | None:
        """The one client whose jobs it sees; None: it sees everybody's."""
        return None if Role.OPERATE in self.roles else self.client

    def sees(self, client: str) -> bool:
        """Tell whether it may know of this client's jobs."""
        return self.sees_only in {None, client}


PRINCIPAL = web.RequestKey("principal", Principal)
"""On each request but those for what is public."""
