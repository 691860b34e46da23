"""A caller with hostile files, which knows every way into the service."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from imgsvc import errors
from standins.pictures import as_base64, picture

_GOOD = as_base64(picture())
_CLASSES: Mapping[str, type[errors.ImgsvcError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ImgsvcError)
}


class Way(StrEnum):
    """How a file gets in."""

    BASE64 = "base64"
    URL = "url"
    MASK = "mask"
    OBJECT = "object"  # of a batch


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a file: of a job that failed, the status and code of its error."""

    status: int
    code: str  # "taken" if the picture was edited


@dataclass(kw_only=True, slots=True)
class HostileCaller:
    """Sends files to a server with the local engine, and waits for what becomes of them."""

    url: str
    inputs: Path  # the folder of the server's input bucket
    session: aiohttp.ClientSession
    pictures: str = ""  # URL of what image_url names
    content: bytes = b""  # what is there

    async def send(self, data: bytes, way: Way) -> Answer:
        """Send one file by one way."""
        match way:
            case Way.BASE64:
                return await self._single(image_base64=as_base64(data))
            case Way.URL:
                self.content = data
                return await self._single(image_url=self.pictures)
            case Way.MASK:
                return await self._single(image_base64=_GOOD, mask_base64=as_base64(data))
        return (await self.batch({"picture.png": data}))["picture.png"]

    async def _single(self, **fields: str) -> Answer:
        status, answer = await self._post("/process-image-async-b64", **fields)
        return _job_answer(answer) if status == 200 else Answer(status, str(answer["code"]))

    async def _post(self, path: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        body = io.BytesIO(orjson.dumps({"prompt": "invert", **fields}))
        headers = {"Prefer": "wait=60", "Content-Type": "application/json"}
        async with self.session.post(self.url + path, data=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def batch(self, files: Mapping[str, bytes]) -> dict[str, Answer]:
        """Do a batch of these files, and return what became of each."""
        folder = self.inputs / "input" / "hostile"
        await asyncio.to_thread(_fill, folder, files)
        try:
            status, answer = await self._post(
                "/batch-process-images", input_prefix="input/hostile/"
            )
            assert status == 200, answer
            return {name: each async for name, each in self._items(answer["job_id"])}
        finally:
            await asyncio.to_thread(_empty, folder)

    async def _items(self, job_id: str) -> AsyncIterator[tuple[str, Answer]]:
        query = ""
        while True:
            async with self.session.get(f"{self.url}/jobs/{job_id}/items{query}") as response:
                page = await response.json()
            for item in page["items"]:
                yield item["input_key"].rpartition("/")[2], _job_answer(item)
            if not (following := page.get("next_cursor")):
                return
            query = f"?cursor={following}"

    async def serve(self, _request: web.Request) -> web.Response:
        """Answer with the file whose URL was sent."""
        return web.Response(body=self.content, content_type="image/png")


def _job_answer(ended: Mapping[str, Any]) -> Answer:
    if "error" not in ended:
        return Answer(200, "taken")
    kind = _CLASSES[str(ended["error"]).partition(":")[0]]
    return Answer(kind.status, kind.code)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@asynccontextmanager
async def hostile_caller(
    url: str, data_dir: Path, *, headers: Mapping[str, str] | None = None
) -> AsyncIterator[HostileCaller]:
    """Yield a caller of the server at url, whose storage is in its data folder.

    The headers go with each request: a key, say.
    """
    async with aiohttp.ClientSession(trust_env=False, headers=headers) as session:
        caller = HostileCaller(url=url, inputs=data_dir / "files" / "input", session=session)
        app = web.Application()
        app.router.add_get("/picture.png", caller.serve)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            caller.pictures = f"http://127.0.0.1:{runner.addresses[0][1]}/picture.png"
            yield caller
        finally:
            await runner.cleanup()
