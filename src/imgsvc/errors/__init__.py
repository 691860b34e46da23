"""Every error of the service, in one tree.

    ImgsvcError
    ├── ConfigurationError          the service cannot start as configured
    ├── RequestError                the caller's request cannot be taken (4xx)
    │   ├── MalformedRequest
    │   ├── RequestHeadTooLarge
    │   ├── RequestHeadTimeout
    │   ├── InvalidJson
    │   ├── ControlCharacter
    │   ├── InvalidRequest          with one entry a wrong field
    │   │   ├── ModelNotOffered
    │   │   └── NotOfferedByModel
    │   ├── InvalidBase64
    │   ├── MissingCallbackUrl
    │   ├── InvalidUrl
    │   ├── ForbiddenUrl
    │   ├── BucketNotAllowed
    │   ├── NotFound
    │   ├── MethodNotAllowed
    │   ├── LinkExpired
    │   ├── LinkInvalid
    │   ├── BodyTooLarge
    │   ├── BodyTimeout
    │   ├── BodyAborted
    │   ├── UnsupportedMediaType
    │   ├── PromptRejected          with what moderation objects to, if it was that
    │   ├── InvalidIdempotencyKey
    │   ├── IdempotencyKeyReused
    │   ├── InvalidCursor
    │   ├── InvalidEventId
    │   ├── ClientLimitReached      of what one client may have: wait (429)
    │   ├── NotAllowedForClient     with the rule, and what is allowed
    │   └── AccessError             it is not known who asks, or they may not
    │       ├── ClientBlocked
    │       ├── CredentialsMissing
    │       ├── CredentialsAmbiguous
    │       ├── CredentialsInvalid
    │       ├── OriginRefused
    │       ├── RoleMissing
    │       └── TooManyFailures     wrong keys: wait (429)
    ├── ServiceOverloaded           come back later (503)
    │   ├── QueueFull
    │   ├── DiskRefuses
    │   ├── SpoolFull
    │   ├── ServerBusy
    │   ├── TooManyDryRuns
    │   ├── ModerationUnavailable
    │   ├── TokenKeysUnavailable
    │   └── ShuttingDown
    ├── ImageError                  the picture itself is the problem (4xx)
    │   ├── NotAnImage
    │   ├── UnsupportedImageType
    │   ├── ImageFileTooLarge
    │   ├── ImageTooLarge
    │   ├── ImageTooComplex
    │   ├── CorruptImage
    │   ├── InvalidMask
    │   └── ImageFetchFailed
    ├── InstructionNotUnderstood    the prompt says nothing that the local engine can do
    ├── ImageProcessDied            a child process of the image pool was lost
    ├── ProviderError               the image API refused or could not be reached
    │   ├── ProviderNotConfigured
    │   ├── BudgetSpent
    │   │   └── PriceUnknown
    │   ├── ProviderOutOfCredit
    │   ├── ProviderRateLimited
    │   ├── ProviderBusy
    │   ├── ProviderRefusedContent
    │   ├── ProviderRefusedImage
    │   ├── ProviderRefusedParameter
    │   ├── ProviderKeyRejected
    │   ├── ProviderAccessDenied
    │   ├── ProviderModelNotFound
    │   ├── ProviderServerError
    │   ├── ProviderTimeout
    │   ├── ProviderConnectionLost
    │   ├── ProviderUnreachable
    │   └── ProviderBadAnswer
    ├── StorageError                the bucket or folder refused or could not be reached
    │   ├── BucketNotFound
    │   ├── ObjectNotFound
    │   ├── ObjectTooLarge
    │   ├── InvalidObjectKey
    │   ├── StorageAccessDenied
    │   └── StorageUnreachable
    ├── ApiKeyError                 a caller's key is not in the state for this (4xx)
    │   ├── ApiKeyNotFound
    │   ├── ApiKeyRevoked
    │   └── ApiKeysNotInForce
    ├── JobTimeout                  the job as a whole took too long
    ├── JobCancelled                the caller no longer wanted it
    ├── JobPoisoned                 it was begun too often without an end
    ├── PayloadLost                 the image that came with the request is gone
    └── JobError                    the job is not in the state for this (4xx)
        ├── JobNotFound
        ├── JobFinished
        ├── JobNotFinished
        ├── JobHasNoResult
        ├── ResultGone
        ├── JobNotRetryable
        └── CallbackNotSettled

A message is public: it says what is wrong and how to mend it, and never holds a
secret, a path of this machine or a traceback. The class docstring is the default
message. Foreign exceptions are mapped to these once, at the adapter that meets
them, with ``raise … from exc``.
"""

from imgsvc.errors.access import (
    AccessError,
    ClientBlocked,
    CredentialsAmbiguous,
    CredentialsInvalid,
    CredentialsMissing,
    OriginRefused,
    RoleMissing,
    TooManyFailures,
)
from imgsvc.errors.base import (
    ConfigurationError,
    FieldError,
    ImgsvcError,
    describe,
)
from imgsvc.errors.images import (
    CorruptImage,
    ImageError,
    ImageFetchFailed,
    ImageFileTooLarge,
    ImageProcessDied,
    ImageTooComplex,
    ImageTooLarge,
    InstructionNotUnderstood,
    InvalidMask,
    NotAnImage,
    UnsupportedImageType,
)
from imgsvc.errors.jobs import (
    CallbackNotSettled,
    JobCancelled,
    JobError,
    JobFinished,
    JobHasNoResult,
    JobNotFinished,
    JobNotFound,
    JobNotRetryable,
    JobPoisoned,
    JobTimeout,
    PayloadLost,
    ResultGone,
)
from imgsvc.errors.keys import (
    ApiKeyError,
    ApiKeyNotFound,
    ApiKeyRevoked,
    ApiKeysNotInForce,
)
from imgsvc.errors.limits import ClientLimitReached, NotAllowedForClient
from imgsvc.errors.overload import (
    DiskRefuses,
    ModerationUnavailable,
    QueueFull,
    ServerBusy,
    ServiceOverloaded,
    ShuttingDown,
    SpoolFull,
    TokenKeysUnavailable,
    TooManyDryRuns,
)
from imgsvc.errors.providers import (
    BudgetSpent,
    PriceUnknown,
    ProviderAccessDenied,
    ProviderBadAnswer,
    ProviderBusy,
    ProviderConnectionLost,
    ProviderError,
    ProviderKeyRejected,
    ProviderModelNotFound,
    ProviderNotConfigured,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRefusedContent,
    ProviderRefusedImage,
    ProviderRefusedParameter,
    ProviderServerError,
    ProviderTimeout,
    ProviderUnreachable,
)
from imgsvc.errors.requests import (
    BodyAborted,
    BodyTimeout,
    BodyTooLarge,
    BucketNotAllowed,
    ControlCharacter,
    ForbiddenUrl,
    IdempotencyKeyReused,
    InvalidBase64,
    InvalidCursor,
    InvalidEventId,
    InvalidIdempotencyKey,
    InvalidJson,
    InvalidRequest,
    InvalidUrl,
    LinkExpired,
    LinkInvalid,
    MalformedRequest,
    MethodNotAllowed,
    MissingCallbackUrl,
    ModelNotOffered,
    NotFound,
    NotOfferedByModel,
    PromptRejected,
    RequestError,
    RequestHeadTimeout,
    RequestHeadTooLarge,
    UnsupportedMediaType,
    naming,
)
from imgsvc.errors.storage import (
    BucketNotFound,
    InvalidObjectKey,
    ObjectNotFound,
    ObjectTooLarge,
    StorageAccessDenied,
    StorageError,
    StorageUnreachable,
)

__all__ = [
    "AccessError",
    "ApiKeyError",
    "ApiKeyNotFound",
    "ApiKeyRevoked",
    "ApiKeysNotInForce",
    "BodyAborted",
    "BodyTimeout",
    "BodyTooLarge",
    "BucketNotAllowed",
    "BucketNotFound",
    "BudgetSpent",
    "CallbackNotSettled",
    "ClientBlocked",
    "ClientLimitReached",
    "ConfigurationError",
    "ControlCharacter",
    "CorruptImage",
    "CredentialsAmbiguous",
    "CredentialsInvalid",
    "CredentialsMissing",
    "DiskRefuses",
    "FieldError",
    "ForbiddenUrl",
    "IdempotencyKeyReused",
    "ImageError",
    "ImageFetchFailed",
    "ImageFileTooLarge",
    "ImageProcessDied",
    "ImageTooComplex",
    "ImageTooLarge",
    "ImgsvcError",
    "InstructionNotUnderstood",
    "InvalidBase64",
    "InvalidCursor",
    "InvalidEventId",
    "InvalidIdempotencyKey",
    "InvalidJson",
    "InvalidMask",
    "InvalidObjectKey",
    "InvalidRequest",
    "InvalidUrl",
    "JobCancelled",
    "JobError",
    "JobFinished",
    "JobHasNoResult",
    "JobNotFinished",
    "JobNotFound",
    "JobNotRetryable",
    "JobPoisoned",
    "JobTimeout",
    "LinkExpired",
    "LinkInvalid",
    "MalformedRequest",
    "MethodNotAllowed",
    "MissingCallbackUrl",
    "ModelNotOffered",
    "ModerationUnavailable",
    "NotAllowedForClient",
    "NotAnImage",
    "NotFound",
    "NotOfferedByModel",
    "ObjectNotFound",
    "ObjectTooLarge",
    "OriginRefused",
    "PayloadLost",
    "PriceUnknown",
    "PromptRejected",
    "ProviderAccessDenied",
    "ProviderBadAnswer",
    "ProviderBusy",
    "ProviderConnectionLost",
    "ProviderError",
    "ProviderKeyRejected",
    "ProviderModelNotFound",
    "ProviderNotConfigured",
    "ProviderOutOfCredit",
    "ProviderRateLimited",
    "ProviderRefusedContent",
    "ProviderRefusedImage",
    "ProviderRefusedParameter",
    "ProviderServerError",
    "ProviderTimeout",
    "ProviderUnreachable",
    "QueueFull",
    "RequestError",
    "RequestHeadTimeout",
    "RequestHeadTooLarge",
    "ResultGone",
    "RoleMissing",
    "ServerBusy",
    "ServiceOverloaded",
    "ShuttingDown",
    "SpoolFull",
    "StorageAccessDenied",
    "StorageError",
    "StorageUnreachable",
    "TokenKeysUnavailable",
    "TooManyDryRuns",
    "TooManyFailures",
    "UnsupportedImageType",
    "UnsupportedMediaType",
    "describe",
    "naming",
]
