"""What the page about scheduled batches shows does what it says."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from imgsvc.config import Settings
from imgsvc.jobs.items import ItemFilter
from standins.pictures import picture
from standins.service import running_service

PAGE = Path(__file__).parents[1] / "docs" / "scheduled-batches.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the script calls curl")
async def test_the_script_for_cron_makes_one_job_a_day_of_what_is_new(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    found = re.search(r"```sh\n(#!/bin/sh\n.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert found is not None
    script = tmp_path / "edit-new-photos"
    script.write_text(found[1])
    async with running_service(make_settings()) as caller:
        folder = caller.files / "input" / "input" / "spring"
        folder.mkdir(parents=True)
        today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        yesterday = (today - timedelta(hours=12)).replace(hour=0)
        for name, time in (
            ("old", yesterday - timedelta(seconds=1)),
            ("new", yesterday),
        ):
            (folder / f"{name}.png").write_bytes(picture())
            os.utime(folder / f"{name}.png", (time.timestamp(), time.timestamp()))

        async def call() -> str:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                str(script),
                caller.server.url,
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
            assert process.returncode == 0
            return str(json.loads(output)["job_id"])

        job_id = await call()
        assert await call() == job_id
        await caller.until(job_id, lambda job: job.finished_at is not None)
        items = caller.server.service.backend.items
        [item] = await items.page(ItemFilter(job_id=job_id), after=0, limit=10)
        assert item.key == "input/spring/new.png"
