"""The operations beside the tools, for operators and programs."""

from typing import Any

from pydantic import BaseModel, Field

from imgsvc import __version__
from imgsvc.errors import (
    DiskRefuses,
    LinkExpired,
    LinkInvalid,
    NotFound,
    ObjectNotFound,
    ShuttingDown,
    SpoolFull,
)
from imgsvc.web.breaker_view import BreakerView
from imgsvc.web.openapi_events import JOB_EVENTS
from imgsvc.web.openapi_parts import json_answer, problem_answers
from imgsvc.web.openapi_usage import USAGE
from imgsvc.web.usage import UsageReportView


class Alive(BaseModel):
    """The server answers."""

    ok: bool = Field(description="Always true.")


class Ready(Alive):
    """New jobs are taken."""

    breakers: list[BreakerView] = Field(
        description="Image APIs that are not asked at the moment; the local engine steps in."
    )


class Health(Ready):
    """How the server is doing."""

    version: str = Field(description="The version of imgsvc.")
    ready: bool = Field(description="Whether new jobs are taken; false while shutting down.")
    uptime_seconds: float = Field(description="Seconds since the start.")
    provider: str = Field(description="Who edits images: `openai`, or `local`.")
    storage: str = Field(description="Where results are kept: `s3` or `filesystem`.")
    queued: int = Field(description="Jobs that wait for a worker.")
    running: int = Field(description="Jobs in work.")
    callbacks_pending: int = Field(description="Callbacks not yet delivered.")
    callbacks_dead: int = Field(description="Callbacks given up; they can be delivered again.")
    spool_bytes: int = Field(description="Bytes of disk that jobs and their record take up.")


class StorageSettings(BaseModel):
    """Where batches read and results go."""

    endpoint: str | None = Field(None, description="The S3 endpoint; absent without S3.")
    region: str | None = Field(None, description="The S3 region; absent without S3.")
    input_bucket: str = Field(description="The bucket that batches read.")
    output_bucket: str = Field(description="The bucket that results are written to.")
    input_prefix: str = Field(description="What a batch edits if it names no input_prefix.")
    output_prefix: str = Field(description="Where a batch writes if it names no output_prefix.")
    presign_expires: int = Field(description="How long links to results work, in seconds.")


SERVICE_ANSWERS: tuple[type[BaseModel], ...] = (
    Alive,
    Ready,
    Health,
    StorageSettings,
    UsageReportView,
)


def service_paths() -> dict[str, Any]:
    """Return the paths of everything but the tools."""
    return {
        "/jobs/{job_id}/events": {"get": JOB_EVENTS},
        "/usage": {"get": USAGE},
        "/health": {"get": _HEALTH},
        "/health/live": {"get": _LIVE},
        "/health/ready": {"get": _READY},
        "/metrics": {"get": _METRICS},
        "/cos/config": {"get": _COS_CONFIG},
        "/files/{bucket}/{key}": {"get": _FILE},
        "/openapi.json": {"get": _OPENAPI},
        "/docs": {"get": _DOCS},
    }


_OPEN = {
    "provider": "openai",
    "model": "gpt-image-2",
    "state": "open",
    "reason": "provider_out_of_credit",
    "probe_in": 21.5,
}

_HEALTH = {
    "operationId": "getHealth",
    "summary": "See how the server is doing",
    "description": "Tells that the server is there, what it uses, and how busy it is.",
    "tags": ["Operation"],
    "responses": {
        "200": json_answer(
            "The server is there.",
            Health,
            {
                "ok": True,
                "version": __version__,
                "ready": True,
                "uptime_seconds": 3600.5,
                "provider": "openai",
                "breakers": [_OPEN],
                "storage": "s3",
                "queued": 3,
                "running": 8,
                "callbacks_pending": 1,
                "callbacks_dead": 0,
                "spool_bytes": 104_857_600,
            },
        )
    },
}

_LIVE = {
    "operationId": "getLiveness",
    "summary": "Ask whether the process serves requests",
    "description": "For a supervisor that restarts the process when this does not answer.",
    "tags": ["Operation"],
    "responses": {"200": json_answer("The process serves requests.", Alive, {"ok": True})},
}

_READY = {
    "operationId": "getReadiness",
    "summary": "Ask whether new jobs are taken",
    "description": (
        "For a load balancer: 503 while the server is shutting down, cannot write to its disk,"
        " or has no room for more jobs. 200 also while an image API cannot be used: `breakers`"
        " has it then, and the local engine steps in."
    ),
    "tags": ["Operation"],
    "responses": {
        "200": json_answer("New jobs are taken.", Ready, {"ok": True, "breakers": [_OPEN]}),
        **problem_answers(ShuttingDown, DiskRefuses, SpoolFull),
    },
}

_METRICS = {
    "operationId": "getMetrics",
    "summary": "Read figures for monitoring",
    "description": "Jobs, callbacks, image APIs and disk space in the text format of Prometheus.",
    "tags": ["Operation"],
    "responses": {
        "200": {
            "description": "The figures as they are now.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
}

_COS_CONFIG = {
    "operationId": "getCosConfig",
    "summary": "See the storage settings",
    "description": "Shows buckets, prefixes and how long links work; never a secret.",
    "tags": ["Operation"],
    "responses": {
        "200": json_answer(
            "The settings.",
            StorageSettings,
            {
                "endpoint": "https://s3.eu-de.cloud-object-storage.appdomain.cloud",
                "region": "eu-de",
                "input_bucket": "input",
                "output_bucket": "output",
                "input_prefix": "input/",
                "output_prefix": "output/",
                "presign_expires": 3600,
            },
        )
    },
}


_NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f]+$"


def _part(
    place: str, name: str, description: str, example: str, pattern: str = _NO_CONTROL
) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": True,
        "description": description,
        "schema": {"type": "string", "pattern": pattern},
        "example": example,
    }


_FILE = {
    "operationId": "getFile",
    "summary": "Download a result by its signed link",
    "description": (
        "Serves results of the filesystem storage. Use the `result_url` of a callback as it is:"
        " it names all of these parameters and is signed."
    ),
    "tags": ["Results"],
    "parameters": [
        _part("path", "bucket", "The output bucket.", "output"),
        _part("path", "key", "The object's key; may hold slashes.", "results/42/photo.png"),
        _part("query", "expires", "When the link ends, in seconds since 1970.", "1795478400"),
        _part("query", "signature", "Proves that the server made the link.", "9f86d081884c7d65"),
    ],
    "responses": {
        "200": {
            "description": "The file.",
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        **problem_answers(LinkInvalid, LinkExpired, ObjectNotFound, NotFound),
    },
}

_OPENAPI = {
    "operationId": "getOpenapiDocument",
    "summary": "Get the OpenAPI document",
    "description": "The tools alone, as agents import them; with `full=1` every operation.",
    "tags": ["Interface"],
    "parameters": [
        {
            "name": "full",
            "in": "query",
            "required": False,
            "description": "`1` for every operation.",
            "schema": {"type": "string", "enum": ["0", "1"]},
        }
    ],
    "responses": {
        "200": {
            "description": "An OpenAPI 3.0.3 document.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
}

_DOCS = {
    "operationId": "getDocsPage",
    "summary": "Read the interface in a browser",
    "description": "A page that shows every operation and can try each.",
    "tags": ["Interface"],
    "responses": {
        "200": {
            "description": "The page.",
            "content": {"text/html": {"schema": {"type": "string"}}},
        }
    },
}
