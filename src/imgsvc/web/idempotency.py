"""The header `Idempotency-Key`: a request that is sent again is done once.

The name and the idea are those of draft-ietf-httpapi-idempotency-key-header; the key
is taken as it is written, with quotes if it has any.
"""

import hashlib
import re

import orjson
from multidict import CIMultiDictProxy

from imgsvc.errors import InvalidIdempotencyKey
from imgsvc.jobs.models import JobSpec
from imgsvc.web.batch_schemas import BatchRequest
from imgsvc.web.schemas import ProcessImageRequest

HEADER = "Idempotency-Key"
_NOT_COUNTED = {"image_base64", "mask_base64", "keys", "dry_run"}
"""Fields that count as blobs or make no job."""

_ACCEPTABLE = re.compile(r"[\x20-\x7e]{1,255}")


def idempotency_key(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the key, or None without one; raise InvalidIdempotencyKey."""
    values = headers.getall(HEADER, [])
    if not values:
        return None
    if len(values) > 1 or _ACCEPTABLE.fullmatch(values[0]) is None:
        raise InvalidIdempotencyKey
    return values[0]


def digest(spec: JobSpec, body: ProcessImageRequest | BatchRequest) -> str:
    """Return the SHA-256 of what the body asks for, in hexadecimal.

    It is the same however the JSON was written and the pictures were encoded, in whatever
    order keys were named, and does not change with the configuration. A field without a
    value does not count, so that a new field changes no old digest.
    """
    asked = {
        "kind": spec.kind,
        "fields": body.model_dump(exclude_none=True, exclude=_NOT_COUNTED),
        "pictures": [blob.sha256 for blob in spec.blobs],
    }
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
