"""The caller has not proved who it is, or may not do this."""

from typing import ClassVar

from imgsvc.errors.requests import RequestError


class AccessError(RequestError):
    """The caller may not do this."""

    status = 401
    code = "access_refused"
    title = "Access refused"
    challenge: ClassVar[str | None] = None
    """What `WWW-Authenticate` says beside the realm, by RFC 6750; None: no such header."""


class CredentialsMissing(AccessError):
    """Send a key, in the header X-API-Key or as Authorization: Bearer; the operator has it."""

    code = "credentials_missing"
    title = "Credentials missing"
    challenge = ""  # RFC 6750, section 3.1: no error where nothing was sent


class CredentialsAmbiguous(AccessError):
    """Send one key: in the header X-API-Key, or as Authorization: Bearer, and once."""

    status = 400
    code = "credentials_ambiguous"
    title = "More than one credential"
    challenge = "invalid_request"


class CredentialsInvalid(AccessError):
    """This key is not known. Check that it was copied whole, or ask the operator for another."""

    code = "credentials_invalid"
    title = "Credentials invalid"
    challenge = "invalid_token"

    def __init__(
        self, message: str | None = None, *, reason: str = "malformed", claim: str | None = None
    ) -> None:
        super().__init__(message)
        # For the operator's log: callers, who may be guessing, do not get to know them.
        self.reason = reason
        self.claim = claim  # of a token, that is missing or wrong


class RoleMissing(AccessError):
    """This takes a role that the key does not have. Ask the operator for a key that has it."""

    status = 403
    code = "role_missing"
    title = "Role missing"
    challenge = "insufficient_scope"


class ClientBlocked(AccessError):
    """The operator has shut this client out. Ask the operator, if that is not meant."""

    status = 403
    code = "client_blocked"
    title = "Client blocked"


class OriginRefused(AccessError):
    """A page of another site asked for this. List its origin in server.cors_origins if it may."""

    status = 403
    code = "origin_refused"
    title = "Origin refused"


class TooManyFailures(AccessError):
    """There were too many wrong keys. Wait as long as Retry-After says, and check the key."""

    status = 429
    code = "too_many_failures"
    title = "Too many failures"
    retry_after: float | None = 60

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.retry_after = wait
