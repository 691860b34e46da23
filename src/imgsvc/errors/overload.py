"""The service is too busy: come back later."""

from imgsvc.errors.base import ImgsvcError


class ServiceOverloaded(ImgsvcError):
    """The service is busy. Try again after the time in Retry-After."""

    status = 503
    code = "overloaded"
    title = "Service overloaded"
    retryable = True
    retry_after = 5


class QueueFull(ServiceOverloaded):
    """As many jobs are waiting as the server may hold. Try again later."""

    code = "queue_full"
    title = "Queue full"


class DiskRefuses(ServiceOverloaded):
    """The server cannot write to its disk at the moment. Try again later."""

    code = "disk_refuses"
    title = "Disk refuses"
    retry_after = 30


class SpoolFull(ServiceOverloaded):
    """Jobs take up as much of the server's disk as they may. Try again later."""

    code = "spool_full"
    title = "Spool full"
    retry_after = 60


class ServerBusy(ServiceOverloaded):
    """As many bytes of requests are coming in as the server takes at once. Try again shortly."""

    code = "server_busy"
    title = "Server busy"


class TooManyDryRuns(ServiceOverloaded):
    """As many dry runs are going on as the server does at once. Try again shortly."""

    code = "too_many_dry_runs"
    title = "Too many dry runs"


class ModerationUnavailable(ServiceOverloaded):
    """Moderation cannot be asked, and without it no prompt is taken. Try again later."""

    code = "moderation_unavailable"
    title = "Moderation unavailable"
    retry_after = 30


class ShuttingDown(ServiceOverloaded):
    """The server is shutting down and takes no new jobs. Try again shortly."""

    code = "shutting_down"
    title = "Shutting down"


class TokenKeysUnavailable(ServiceOverloaded):
    """The keys that tokens are checked with cannot be had now. Try again in some seconds."""

    code = "token_keys_unavailable"
    title = "Token keys unavailable"
    retry_after = 10
