"""Rules for routes. The list of routes has one beside each."""

from dataclasses import dataclass

from imgsvc.web.auth.principal import Principal
from imgsvc.web.auth.roles import Role


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use a route."""

    meaning: str
    roles: tuple[Role, ...] = ()  # any of them will do; none: everybody

    @property
    def is_public(self) -> bool:
        """Whether nobody has to say who they are."""
        return not self.roles

    def admits(self, principal: Principal) -> bool:
        """Tell whether a caller may use the route, if perhaps for its own jobs only."""
        return self.is_public or any(role in principal.roles for role in self.roles)


Rules = dict[tuple[str, str], Rule]
"""The rule of each route, by its method and its path, as in the OpenAPI document."""

PUBLIC = Rule("everybody")
SIGNED_LINK = Rule("whoever has the signed link")
SUBMIT = Rule("`submit`", (Role.SUBMIT,))
READ = Rule("`read`: own jobs; `operate`: all", (Role.READ, Role.OPERATE))
CHANGE_JOB = Rule("`submit`: own jobs; `operate`: all", (Role.SUBMIT, Role.OPERATE))
OPERATE = Rule("`operate`", (Role.OPERATE,))
ADMIN = Rule("`admin`", (Role.ADMIN,))
