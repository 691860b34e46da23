"""How far a batch is stays right when the server is lost."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

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


@pytest.mark.slow
async def test_counters_go_on_after_a_kill_in_the_job_and_where_they_are_posted(
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
                headers={"callbackUrl": receiver.url, "progressUrl": f"{receiver.url}/progress"},
            ) as answer,
        ):
            job_id = (await answer.json())["job_id"]
            assert await server.process.wait() == -signal.SIGKILL

        receiver.forget()
        api.fail_after(1, "hang")
        environment = api.environment | {"IMGSVC_CALLBACKS__PROGRESS_INTERVAL": "0.01"}
        async with server_process(data_dir, environment=environment) as server:
            posted = await receiver.next()
            assert posted.target == "/callback/progress"
            expected = {"done": BEFORE + 1, "failed": 1, "total": IMAGES, "total_is_final": True}
            assert expected.items() <= posted.json.items()
            job = await get(session, f"{server.url}/jobs/{job_id}")
            assert expected.items() <= job["progress"].items()
            items = await get(session, f"{server.url}/jobs/{job_id}/items")
            states = Counter(item["state"] for item in items["items"])
            assert states == Counter(processed=BEFORE, failed=1, running=1, pending=2)

        api.fail_always(None)
        await settle(data_dir, api.environment)
        body = receiver.received[-1].json
        assert (body["total_files"], body["failed"]) == (IMAGES, 1)
