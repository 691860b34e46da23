"""How far a batch is stays right when the server is lost."""

import signal
from pathlib import Path
from typing import Any

import aiohttp

from imgsvc.killpoints import KillPoint
from standins import killable
from standins.openai import openai_standin
from standins.pictures import picture
from standins.receiver import Receiver
from standins.server_process import server_process, settle

IMAGES = 8
BEFORE = 4  # images that are done before the kill


async def get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_counters_go_on_after_a_kill_and_the_rate_begins_anew(
    tmp_path: Path, receiver: Receiver
) -> None:
    data_dir = tmp_path / "data"
    folder = data_dir / "files" / "input" / "input"
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        (folder / f"{number}.png").write_bytes(picture())
    async with openai_standin() as api, aiohttp.ClientSession() as session:
        api.fail_next("moderation_blocked")
        program = killable.program(KillPoint.RESULT_STORED, "before", nth=BEFORE)
        async with (
            server_process(data_dir, program=program, environment=api.environment) as server,
            session.post(
                f"{server.url}/batch-process-images",
                json={"prompt": "x", "concurrency": 1},
                headers={"callbackUrl": receiver.url},
            ) as answer,
        ):
            job_id = (await answer.json())["job_id"]
            assert await server.process.wait() == -signal.SIGKILL

        api.fail_always("hang")
        api.arrived.clear()
        async with server_process(data_dir, environment=api.environment) as server:
            await api.arrived.wait()
            job = await get(session, f"{server.url}/jobs/{job_id}")
            assert job["progress"] == {
                "done": BEFORE,
                "failed": 1,
                "total": IMAGES,
                "total_is_final": True,
            }
            items = await get(session, f"{server.url}/jobs/{job_id}/items")
            assert sum(item["state"] in {"processed", "failed"} for item in items["items"]) == 4

        api.fail_always(None)
        await settle(data_dir, api.environment)
        body = receiver.received[-1].json
        assert (body["total_files"], body["failed"]) == (IMAGES, 1)
