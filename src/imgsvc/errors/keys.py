"""A key of a caller is not there, or not in the state for what is asked."""

from imgsvc.errors.base import ImgsvcError


class ApiKeyError(ImgsvcError):
    """The key is not in the state for this."""

    status = 409
    code = "key_error"
    title = "Key in another state"


class ApiKeyNotFound(ApiKeyError):
    """There is no key with this id. Look for it in the list of keys."""

    status = 404
    code = "key_not_found"
    title = "Key not found"


class ApiKeyRevoked(ApiKeyError):
    """The key is revoked, so it can have no successor. Make a new one."""

    code = "key_revoked"
    title = "Key revoked"


class ApiKeysNotInForce(ApiKeyError):
    """The server takes no API keys. Set auth.mode to "api_key" or "api_key,jwt" first."""

    code = "keys_not_in_force"
    title = "Keys not in force"
