"""Links to files that this server signs itself, since a folder has no S3 to do it.

    {base_url}/files/{bucket}/{key}?expires={unix seconds}&signature={hex}

The signature is HMAC-SHA256 (RFC 2104) over bucket, key and expiry.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from urllib.parse import quote

from imgsvc.errors import LinkExpired, LinkInvalid

_EXPIRES = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


class LinkSigner:
    """Makes links and tells whether it has made one."""

    def __init__(
        self, *, signing_key: bytes, base_url: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._signing_key = signing_key
        self._base_url = base_url.rstrip("/")
        self._clock = clock

    def url(self, bucket: str, key: str, *, expires_in: int) -> str:
        """Return the link to an object, good for expires_in seconds."""
        expires = str(int(self._clock()) + expires_in)
        signature = self._sign(bucket, key, expires)
        path = f"{quote(bucket, safe='')}/{quote(key)}"
        return f"{self._base_url}/files/{path}?expires={expires}&signature={signature}"

    def verify(self, bucket: str, key: str, *, expires: str, signature: str) -> None:
        """Raise LinkInvalid unless all four belong together, LinkExpired if the time is over."""
        if not _EXPIRES.fullmatch(expires) or not _SIGNATURE.fullmatch(signature):
            raise LinkInvalid
        if not hmac.compare_digest(signature, self._sign(bucket, key, expires)):
            raise LinkInvalid
        if self._clock() >= int(expires):
            raise LinkExpired

    def _sign(self, bucket: str, key: str, expires: str) -> str:
        # surrogatepass: whatever a request may hold must come out as a wrong signature
        message = f"{expires}\n{bucket}\n{key}".encode(errors="surrogatepass")
        return hmac.new(self._signing_key, message, hashlib.sha256).hexdigest()
