"""A local stand-in of a Stable Diffusion web UI that was started with ``--api``.

It answers as ``modules/api/api.py`` of AUTOMATIC1111's does: with FastAPI's errors for what
it does not know, its own for what goes wrong, and with the checkpoint that is loaded where
it does not know the one asked for. The answer is the picture mirrored.

    async with automatic1111_standin() as standin:
        standin.fail_next("out_of_memory")

As a program: ``python tests/standins/automatic1111.py --port 7860``.
"""

import argparse
import asyncio
import base64
import binascii
import io
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import encode_basic_auth, web
from PIL import Image, ImageOps

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from standins.faults import Call, Failure, FaultyServer, Refused

USERNAME, PASSWORD = "imgsvc", "standin-Zm9yVGVzdHNPbmx5"
CHECKPOINTS = ("v1-5-inpainting", "sd_xl_base_1.0")
SAMPLERS = ("Euler", "Euler a", "DPM++ 2M", "UniPC")
TYPES: dict[str, type | tuple[type, ...]] = {
    "prompt": str,
    "negative_prompt": str,
    "init_images": list,
    "mask": str,
    "denoising_strength": (int, float),
    "steps": int,
    "cfg_scale": (int, float),
    "sampler_name": str,
    "width": int,
    "height": int,
    "resize_mode": int,
    "n_iter": int,
    "batch_size": int,
    "mask_blur": int,
    "inpainting_fill": int,
    "inpaint_full_res": bool,
    "inpainting_mask_invert": int,
    "override_settings": dict,
    "override_settings_restore_afterwards": bool,
}


def _raised(status: int, error: str, detail: str = "", text: str = "") -> Failure:
    """Return what the web UI answers when its own code raises."""
    body = {"error": error, "detail": detail, "body": "", "errors": text}
    return Failure(status=status, body=json.dumps(body))


FAILURES = {
    "not_authenticated": Failure(
        status=401,
        body='{"detail":"Not authenticated"}',
        headers={"WWW-Authenticate": "Basic"},
    ),
    "wrong_password": _raised(401, "HTTPException", "Incorrect username or password"),
    "forbidden": Failure(status=403, body="<html>Forbidden", content_type="text/html"),
    "no_api": Failure(status=404, body='{"detail":"Not Found"}'),
    "no_sampler": _raised(404, "HTTPException", "Sampler not found"),
    "no_sampler_1.10": _raised(400, "HTTPException", "Sampler not found"),
    "invalid": Failure(
        status=422,
        body='{"detail":[{"loc":["body","steps"],"msg":"value is not a valid integer","type":'
        '"type_error.integer"}]}',
    ),
    "too_large": Failure(status=413, body="<html>Too large", content_type="text/html"),
    "busy": Failure(status=429, body="", content_type="text/plain", headers={"Retry-After": "12"}),
    "out_of_memory": _raised(
        500, "OutOfMemoryError", text="CUDA out of memory. Tried to allocate 20.00 GiB"
    ),
    "gateway": Failure(status=502, body="<html>Bad gateway", content_type="text/html"),
    "gateway_timeout": Failure(status=504, body="<html>Timeout", content_type="text/html"),
}


class Automatic1111Standin(FaultyServer):
    """The running stand-in."""

    failures = FAILURES

    def __init__(self, *, auth: bool) -> None:
        super().__init__()
        self.auth = auth

    async def checkpoints(self, request: web.Request) -> web.Response:
        """``GET /sdapi/v1/sd-models``."""
        self._check_password(request)
        return web.json_response(
            [
                {
                    "title": f"{name}.safetensors [{number:010x}]",
                    "model_name": name,
                    "hash": f"{number:010x}",
                    "sha256": f"{number:064x}",
                    "filename": f"/models/Stable-diffusion/{name}.safetensors",
                    "config": None,
                }
                for number, name in enumerate(CHECKPOINTS, start=0xC0FFEE)
            ]
        )

    async def img2img(self, request: web.Request) -> web.StreamResponse:
        """``POST /sdapi/v1/img2img``."""
        self._check_password(request)
        body = await request.json()
        call = _call(body, request)
        trick = self.note(call)
        size = body.get("width", 512), body.get("height", 512)
        edited = await asyncio.to_thread(_mirror, call.picture, size)
        text = base64.b64encode(self.picture(trick, edited)) if trick != "empty" else b""
        answer = b'{"images":[%b],"parameters":%b,"info":%b}' % (
            b'"%b"' % text if text else b"",
            json.dumps({**body, "init_images": None, "mask": None}).encode(),
            json.dumps(json.dumps({"seed": 1, "sd_model_name": CHECKPOINTS[0]})).encode(),
        )
        return await self.respond(request, trick, answer, "application/json")

    def _check_password(self, request: web.Request) -> None:
        header = request.headers.get("Authorization")
        if self.auth and header is None:
            raise Refused(FAILURES["not_authenticated"])
        if self.auth and header != encode_basic_auth(USERNAME, PASSWORD):
            raise Refused(FAILURES["wrong_password"])


def _call(body: dict[str, Any], request: web.Request) -> Call:
    """Return the call; raise Refused for what the web UI does not take."""
    if not all(isinstance(body[key], kind) for key, kind in TYPES.items() if key in body):
        raise Refused(FAILURES["invalid"])
    if body.get("sampler_name", "Euler") not in SAMPLERS:
        raise Refused(FAILURES["no_sampler"])
    if not body.get("init_images"):
        raise Refused(_raised(404, "HTTPException", "Init image not found"))
    if body.get("width", 512) % 8 or body.get("height", 512) % 8:
        raise Refused(_raised(500, "RuntimeError", text="Sizes of tensors must match"))
    return Call(
        prompt=body["prompt"],
        picture=_decoded(body["init_images"][0]),
        mask=_decoded(body["mask"]) if "mask" in body else None,
        fields={key: body[key] for key in body if key not in {"init_images", "mask"}},
        headers=dict(request.headers),
    )


def _decoded(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
        Image.open(io.BytesIO(content)).verify()
    except (binascii.Error, OSError):
        raise Refused(_raised(500, "HTTPException", "Invalid encoded image")) from None
    return content


def _mirror(data: bytes, size: tuple[int, int]) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        edited = ImageOps.mirror(image.convert("RGB")).resize(size)
    out = io.BytesIO()
    edited.save(out, "PNG")
    return out.getvalue()


@asynccontextmanager
async def automatic1111_standin(
    *, auth: bool = True, api: bool = True, port: int = 0
) -> AsyncIterator[Automatic1111Standin]:
    """Run the stand-in on loopback; without `api` it has but its web pages."""
    standin = Automatic1111Standin(auth=auth)
    routes = [
        web.get("/sdapi/v1/sd-models", standin.checkpoints),
        web.post("/sdapi/v1/img2img", standin.img2img),
    ]
    async with standin.serving(routes if api else [], port):
        yield standin


async def _serve(args: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with automatic1111_standin(auth=False, port=args.port) as standin:
        sys.stdout.write(f"{standin.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A local stand-in for a Stable Diffusion web UI.")
    parser.add_argument("--port", type=int, default=0, help="TCP port; a free one by default")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
