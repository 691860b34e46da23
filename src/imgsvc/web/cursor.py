"""Cursors: where the next page of a list begins, of jobs, a batch's items or audit rows.

    base64url(number, 8 bytes, big-endian + the first 16 bytes of HMAC-SHA256)

The code (RFC 2104) covers the number and the filter, and its key belongs to the data
folder: a cursor of another record, or of another list, would skip rows unnoticed.
"""

import base64
import hashlib
import hmac
import json
import re

from imgsvc.errors import InvalidCursor
from imgsvc.jobs.audit import AuditFilter
from imgsvc.jobs.items import ItemFilter
from imgsvc.jobs.models import JobFilter

Wanted = JobFilter | ItemFilter | AuditFilter
"""Which rows a list shows."""

_NUMBER_BYTES = 8
_CODE_BYTES = 16
# 24 bytes fill 32 characters exactly, so that no two texts stand for the same bytes.
_TEXT = re.compile(r"[A-Za-z0-9_-]{32}")


class Cursors:
    """Makes cursors and tells whether it has made one."""

    def __init__(self, signing_key: bytes) -> None:
        self._signing_key = signing_key

    def encode(self, last: int, wanted: Wanted) -> str:
        """Return the cursor for what comes in this list behind the row with this number."""
        number = last.to_bytes(_NUMBER_BYTES, "big")
        return base64.urlsafe_b64encode(number + self._code(number, wanted)).decode()

    def decode(self, cursor: str, wanted: Wanted) -> int:
        """Return the number; raise InvalidCursor for what `encode` has not made for this list."""
        if not _TEXT.fullmatch(cursor):
            raise InvalidCursor
        data = base64.urlsafe_b64decode(cursor)
        number, code = data[:_NUMBER_BYTES], data[_NUMBER_BYTES:]
        if not hmac.compare_digest(code, self._code(number, wanted)):
            raise InvalidCursor
        return int.from_bytes(number, "big")

    def _code(self, number: bytes, wanted: Wanted) -> bytes:
        filters = json.dumps(_filters(wanted)).encode()
        return hmac.digest(self._signing_key, number + filters, hashlib.sha256)[:_CODE_BYTES]


def _filters(wanted: Wanted) -> list[str | float | None]:
    if isinstance(wanted, ItemFilter):
        return [wanted.job_id, wanted.state]
    since = None if wanted.since is None else wanted.since.timestamp()
    if isinstance(wanted, AuditFilter):
        until = None if wanted.until is None else wanted.until.timestamp()
        return ["audit", wanted.actor, wanted.action, wanted.target, since, until]
    return [wanted.state, wanted.kind, wanted.callback, since, wanted.client]
