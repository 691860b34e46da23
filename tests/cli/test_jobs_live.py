"""The commands against the real server, through the whole life of a job."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from cli.commands import Command
from imgsvc.config import Settings
from standins.openai import openai_standin
from standins.pictures import as_base64, picture
from standins.receiver import reply
from standins.service import Caller, running_service


async def run(command: Command, caller: Caller, *arguments: str) -> list[Any]:
    """Run a command that works, and return the documents that it prints."""
    done = await asyncio.to_thread(command, *arguments, "--server", caller.server.url, "--json")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]


async def test_a_job_fails_is_shown_done_again_and_told_again(
    command: Command, make_settings: Callable[..., Settings]
) -> None:
    async with openai_standin() as api:
        settings = make_settings(
            openai={"api_key": api.api_key, "base_url": api.base_url},
            callbacks={"schedule": [0]},
            logs={"level": "error"},
        )
        api.fail_next("moderation_blocked")
        async with running_service(settings) as caller:
            caller.receiver.answer_with(reply(500))
            body = {"prompt": "Make it night", "image_base64": as_base64(picture())}
            failed = await caller.run("/process-image-async-b64", body)
            assert failed["status"] == "failed"

            [listed] = await run(command, caller, "jobs", "list", "--state", "failed")
            assert listed["job_id"] == failed["job_id"]
            await caller.until(failed["job_id"], lambda job: job.is_settled)
            [shown] = await run(command, caller, "jobs", "show", failed["job_id"])
            assert shown["error"] == failed["error"]
            assert [each["status"] for each in shown["callback"]["attempts"]] == [500]

            await run(command, caller, "jobs", "retry", failed["job_id"])
            again = (await caller.receiver.next()).json
            assert (again["status"], again["job_id"] != failed["job_id"]) == ("completed", True)

            await run(command, caller, "callbacks", "redeliver", "--dead", "--since", "1h")
            assert (await caller.receiver.next()).json == failed
