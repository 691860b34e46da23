"""What settings are called in the environment."""

import os
import re
from collections.abc import Mapping

PREFIX = "IMGSVC_"
CONFIG_VARIABLE = "IMGSVC_CONFIG"
API_KEY_VARIABLE = "IMGSVC_API_KEY"
"""The key with which commands talk to a running server; no setting of a server."""

_NO_SETTINGS = frozenset({CONFIG_VARIABLE, API_KEY_VARIABLE})

ALIASES: Mapping[str, str] = {
    "COS_ENDPOINT": "storage.endpoint",
    "COS_REGION": "storage.region",
    "COS_BUCKET": "storage.bucket",
    "COS_ACCESS_KEY_ID": "storage.access_key_id",
    "COS_SECRET_ACCESS_KEY": "storage.secret_access_key",
    "COS_PRESIGN_EXPIRES": "storage.presign_expires",
    "COS_INPUT_BUCKET": "storage.input_bucket",
    "COS_OUTPUT_BUCKET": "storage.output_bucket",
    "COS_INPUT_PREFIX": "storage.input_prefix",
    "COS_OUTPUT_PREFIX": "storage.output_prefix",
    "OPENAI_API_KEY": "openai.api_key",
    "OPENAI_BASE_URL": "openai.base_url",
    "OPENAI_IMAGE_MODEL": "openai.model",
    "OPENAI_IMAGE_QUALITY": "openai.quality",
    "OPENAI_IMAGE_OUTPUT_FORMAT": "openai.output_format",
    "CALLBACK_TIMEOUT_SECONDS": "callbacks.timeout",
    "MAX_CONCURRENT_JOBS": "workers.count",
    "PORT": "server.port",
}
"""Environment variables of earlier deployments, and the keys they set."""

# Kubernetes gives these to every pod beside a Service of the name `imgsvc`.
_SERVICE_LINK = re.compile(r"(SERVICE_(HOST|PORT\w*)|PORT_[0-9]+_\w+)=.*|PORT=[a-z]+://.*")


def our_variables() -> dict[str, str]:
    """Return the IMGSVC_ variables that are not empty, by what follows the prefix.

    Their names count in any case; that in capitals wins.
    """
    texts: dict[str, str] = {}
    for variable in sorted(os.environ, reverse=True):
        name, text = variable.upper(), os.environ[variable]
        if text and name.startswith(PREFIX) and name not in _NO_SETTINGS:
            texts[name.removeprefix(PREFIX)] = text
    return {
        name: text for name, text in texts.items() if not _SERVICE_LINK.fullmatch(f"{name}={text}")
    }
