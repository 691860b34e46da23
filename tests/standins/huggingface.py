"""A local stand-in of Hugging Face: an endpoint, the Hub, and the router to its providers.

    async with huggingface_standin() as standin:
        standin.url                  # a dedicated endpoint: POST edits, GET tells its health
        standin.url + "/api/..."     # the Hub
        standin.url + "/fal-ai/..."  # the router

The answer is the picture mirrored.
"""

import asyncio
import base64
import binascii
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from PIL import Image, ImageOps

from standins.faults import Call, Failure, FaultyServer, Refused

TOKEN = "hf_standinZm9yVGVzdHNPbmx5QWJj"
MODEL = "black-forest-labs/FLUX.1-Kontext-dev"
FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
MAPPING = {
    "fal-ai": {
        "status": "live",
        "providerId": "fal-ai/flux-kontext/dev",
        "task": "image-to-image",
    },
    "replicate": {
        "status": "live",
        "providerId": "black-forest-labs/flux-kontext-dev",
        "task": "image-to-image",
    },
    "together": {"status": "live", "providerId": "flux-schnell", "task": "text-to-image"},
}


def _error(status: int, message: str, **headers: str) -> Failure:
    return Failure(status=status, body=json.dumps({"error": message}), headers=headers)


FAILURES = {
    "wrong_token": _error(401, "Invalid credentials in Authorization header"),
    "no_credits": _error(402, "You have exceeded your monthly included credits"),
    "no_permission": _error(403, "This authentication method does not have sufficient permissions"),
    "no_model": _error(404, "Model not found"),
    "gone": _error(410, "The requested model is deprecated and no longer supported"),
    "invalid": _error(422, "Input validation error: `prompt` must be shorter"),
    "bad_request": _error(400, "Unknown parameter"),
    "too_large": _error(413, "Payload too large"),
    "rate_limited": Failure(
        status=429, body='{"error":"Too Many Requests"}', headers={"Retry-After": "12"}
    ),
    "loading": Failure(
        status=503, body='{"error":"Model is currently loading","estimated_time":20.5}'
    ),
    "failed": _error(500, "CUDA out of memory"),
    "gateway": Failure(status=502, body="<html>Bad gateway", content_type="text/html"),
    "gateway_timeout": Failure(status=504, body="<html>Timeout", content_type="text/html"),
}


class HuggingFaceStandin(FaultyServer):
    """The running stand-in."""

    failures = FAILURES

    def __init__(self) -> None:
        super().__init__()
        self.hub_headers: list[Mapping[str, str]] = []  # of look-ups
        self.file_headers: list[Mapping[str, str]] = []  # of results that were fetched
        self.polls = 0
        self.status = "COMPLETED"  # what the queue says
        self.fail_polls: str | None = None  # what asking the queue fails with
        self.links: list[str] = []  # where results are said to be; empty: here
        self._files: list[bytes] = []

    async def health(self, request: web.Request) -> web.Response:
        """``GET /`` of an endpoint."""
        _check_token(request)
        return web.json_response({"status": "ok"})

    async def endpoint(self, request: web.Request) -> web.StreamResponse:
        """``POST /`` of an endpoint, or of a model at hf-inference: bytes come back."""
        _check_token(request)
        body = await request.json()
        if set(body) - {"inputs", "parameters"} or not isinstance(body.get("inputs"), str):
            raise Refused(FAILURES["invalid"])
        kind = FORMATS.get(request.headers.get("Accept", ""), "PNG")
        picture = _decoded(body["inputs"])
        trick = self.note(_call(body["parameters"], picture, request))
        edited = await asyncio.to_thread(_mirror, picture, kind, body["parameters"])
        content = b"" if trick == "empty" else self.picture(trick, edited)
        return await self.respond(request, trick, content, f"image/{kind.lower()}")

    async def model(self, request: web.Request) -> web.Response:
        """``GET /api/models/OWNER/NAME`` of the Hub."""
        self.hub_headers.append(dict(request.headers))
        name = request.match_info["name"]
        if name != MODEL:
            error = _error(401, "Invalid username or password.", **{"X-Error-Code": "RepoNotFound"})
            raise Refused(error)
        return web.json_response(
            {
                "_id": "1",
                "id": MODEL,
                "modelId": MODEL,
                "pipeline_tag": "image-to-image",
                "inferenceProviderMapping": MAPPING,
            }
        )

    async def whoami(self, request: web.Request) -> web.Response:
        """``GET /api/whoami-v2`` of the Hub."""
        _check_token(request)
        return web.json_response({"type": "user", "name": "imgsvc"})

    async def fal(self, request: web.Request) -> web.StreamResponse:
        """``POST /fal-ai/MODEL``: the edit is put into a queue."""
        _check_token(request)
        if request.query.get("_subdomain") != "queue":
            raise Refused(FAILURES["no_model"])
        trick = await self._edit(request, await request.json(), "image_url")
        body = {
            "request_id": f"{len(self._files)}",
            "status": "IN_QUEUE",
            "response_url": f"https://queue.fal.run/fal-ai/requests/{len(self._files) - 1}",
        }
        return await self.respond(request, trick, json.dumps(body).encode(), "application/json")

    async def fal_status(self, request: web.Request) -> web.Response:
        """``GET /fal-ai/requests/ID/status``."""
        _check_token(request)
        self.polls += 1
        if self.fail_polls is not None:
            raise Refused(FAILURES[self.fail_polls])
        return web.json_response({"status": self.status})

    async def fal_result(self, request: web.Request) -> web.Response:
        """``GET /fal-ai/requests/ID``."""
        _check_token(request)
        return web.json_response({"images": [{"url": self._link(request.match_info["id"])}]})

    async def replicate(self, request: web.Request) -> web.StreamResponse:
        """``POST /replicate/v1/models/MODEL/predictions``."""
        _check_token(request)
        body = await request.json()
        trick = await self._edit(request, body["input"], "input_image")
        link = None if self.status != "COMPLETED" else self._link(str(len(self._files) - 1))
        answer = json.dumps({"model": "flux", "output": link}).encode()
        return await self.respond(request, trick, answer, "application/json")

    async def file(self, request: web.Request) -> web.Response:
        """``GET /files/ID``: a result, for everybody who knows its link."""
        self.file_headers.append(dict(request.headers))
        return web.Response(body=self._files[int(request.match_info["id"])])

    def _link(self, number: str) -> str:
        return self.links[0] if self.links else f"{self.url}/files/{number}"

    async def _edit(self, request: web.Request, body: dict[str, Any], field: str) -> str | None:
        scheme, _, text = body[field].partition(",")
        picture = _decoded(text)
        with Image.open(io.BytesIO(picture)) as image:
            if scheme != f"data:{image.get_format_mimetype()};base64":
                raise Refused(FAILURES["invalid"])
        trick = self.note(_call(body, picture, request))
        edited = await asyncio.to_thread(_mirror, picture, "PNG", {})
        self._files.append(self.picture(trick, edited))
        return trick


def _check_token(request: web.Request) -> None:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        raise Refused(FAILURES["wrong_token"])


def _call(parameters: Mapping[str, Any], picture: bytes, request: web.Request) -> Call:
    fields = {
        key: value
        for key, value in parameters.items()
        if key != "prompt" and not str(value).startswith(("data:", "['data:"))
    }
    return Call(
        prompt=parameters["prompt"],
        picture=picture,
        mask=None,
        fields=fields,
        headers=dict(request.headers),
    )


def _decoded(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
        Image.open(io.BytesIO(content)).verify()
    except (binascii.Error, OSError):
        raise Refused(FAILURES["bad_request"]) from None
    return content


def _mirror(data: bytes, kind: str, parameters: Mapping[str, Any]) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        edited = ImageOps.mirror(image.convert("RGB"))
    if size := parameters.get("target_size"):
        edited = edited.resize((size["width"], size["height"]))
    out = io.BytesIO()
    edited.save(out, kind)
    return out.getvalue()


@asynccontextmanager
async def huggingface_standin() -> AsyncIterator[HuggingFaceStandin]:
    """Run the stand-in on loopback."""
    standin = HuggingFaceStandin()
    routes = [
        web.get("/", standin.health),
        web.post("/", standin.endpoint),
        web.post("/hf-inference/models/{name:.+}", standin.endpoint),
        web.get("/api/models/{name:.+}", standin.model),
        web.get("/api/whoami-v2", standin.whoami),
        web.get("/fal-ai/requests/{id}/status", standin.fal_status),
        web.get("/fal-ai/requests/{id}", standin.fal_result),
        web.post("/fal-ai/{name:.+}", standin.fal),
        web.post("/replicate/v1/models/{name:.+}/predictions", standin.replicate),
        web.get("/files/{id}", standin.file),
    ]
    async with standin.serving(routes):
        yield standin
