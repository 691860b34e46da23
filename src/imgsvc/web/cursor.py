"""Cursors: where the next page of a list of jobs begins.

    base64url(seq, 8 bytes, big-endian + the first 16 bytes of HMAC-SHA256)

The code (RFC 2104) covers the number and the filter, and its key belongs to the data
folder: a cursor of another record, or of another list, would skip jobs unnoticed.
"""

import base64
import hashlib
import hmac
import json
import re

from imgsvc.errors import InvalidCursor
from imgsvc.jobs.models import JobFilter

_SEQ_BYTES = 8
_CODE_BYTES = 16
# 24 bytes fill 32 characters exactly, so that no two texts stand for the same bytes.
_TEXT = re.compile(r"[A-Za-z0-9_-]{32}")


class Cursors:
    """Makes cursors and tells whether it has made one."""

    def __init__(self, signing_key: bytes) -> None:
        self._signing_key = signing_key

    def encode(self, seq: int, wanted: JobFilter) -> str:
        """Return the cursor for the jobs of this list that came before the one with this `seq`."""
        number = seq.to_bytes(_SEQ_BYTES, "big")
        return base64.urlsafe_b64encode(number + self._code(number, wanted)).decode()

    def decode(self, cursor: str, wanted: JobFilter) -> int:
        """Return the `seq`; raise InvalidCursor for what `encode` has not made for this list."""
        if not _TEXT.fullmatch(cursor):
            raise InvalidCursor
        data = base64.urlsafe_b64decode(cursor)
        number, code = data[:_SEQ_BYTES], data[_SEQ_BYTES:]
        if not hmac.compare_digest(code, self._code(number, wanted)):
            raise InvalidCursor
        return int.from_bytes(number, "big")

    def _code(self, number: bytes, wanted: JobFilter) -> bytes:
        since = None if wanted.since is None else wanted.since.timestamp()
        filters = json.dumps([wanted.state, wanted.kind, wanted.callback, since]).encode()
        return hmac.digest(self._signing_key, number + filters, hashlib.sha256)[:_CODE_BYTES]
