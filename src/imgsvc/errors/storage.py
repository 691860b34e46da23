"""The bucket or folder refused or could not be reached."""

from imgsvc.errors.base import ImgsvcError


class StorageError(ImgsvcError):
    """The object storage failed."""

    status = 502
    code = "storage_error"
    title = "Storage error"


class BucketNotFound(StorageError):
    """The bucket does not exist. Create it, or correct its name in the configuration."""

    code = "bucket_not_found"
    title = "Bucket not found"


class ObjectNotFound(StorageError):
    """The object does not exist, or no longer."""

    status = 404
    code = "object_not_found"
    title = "Object not found"


class ObjectTooLarge(StorageError):
    """The object is larger than an image may be. Store a smaller one."""

    status = 413
    code = "object_too_large"
    title = "Object too large"


class InvalidObjectKey(StorageError):
    """The object key is not allowed: it must stay inside its bucket."""

    status = 400
    code = "invalid_object_key"
    title = "Invalid object key"


class StorageAccessDenied(StorageError):
    """The storage rejected the service's credentials. The operator has to check key and policy."""

    code = "storage_access_denied"
    title = "Storage access denied"


class StorageUnreachable(StorageError):
    """The storage could not be reached. The operator has to check the endpoint and the network."""

    code = "storage_unreachable"
    title = "Storage unreachable"
    retryable = True
