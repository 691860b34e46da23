"""Single jobs and a batch, at an image API that does one edit at a time."""

import re
from collections.abc import Callable

from imgsvc.config import Settings
from standins.openai import openai_standin
from standins.pictures import as_base64, picture
from standins.service import Caller, running_service

SINGLE = "/process-image-async-b64"
BATCH = "/batch-process-images"
IMAGES = 12
IN_WORK = 8  # of them, one at the image API and the others before it


async def wait_until_waiting(caller: Caller, calls: int) -> None:
    """Return once so many calls wait for their turn."""
    shown = -1
    while shown != calls:
        async with caller.session.get(caller.server.url + "/metrics") as answer:
            found = re.search(
                r'imgsvc_provider_waiting\{provider="openai"\} (\d+)', await answer.text()
            )
        assert found is not None
        shown = int(found[1])


async def test_single_jobs_that_come_during_a_batch_are_edited_next_and_the_batch_goes_on(
    make_settings: Callable[..., Settings],
) -> None:
    async with openai_standin() as standin:
        standin.answering.clear()
        settings = make_settings(
            openai={"api_key": standin.api_key, "base_url": standin.base_url, "max_in_flight": 1},
            workers={"count": IN_WORK},
        )
        async with running_service(settings) as caller:
            folder = caller.files / "input" / "input"
            folder.mkdir(parents=True)
            for number in range(IMAGES):
                (folder / f"{number:02}.png").write_bytes(picture(64 + number, 48))
            await caller.submit(BATCH, {"prompt": "batch", "concurrency": IN_WORK})
            await wait_until_waiting(caller, IN_WORK - 1)
            for number in range(1, 5):
                image = {"prompt": f"single {number}", "image_base64": as_base64(picture())}
                await caller.submit(SINGLE, image)
                await wait_until_waiting(caller, IN_WORK - 1 + number)
            standin.answering.set()
            await caller.quiet()
    assert [call.fields["prompt"] for call in standin.calls] == [
        "batch",  # in work when they came
        "single 1",
        "single 2",
        "single 3",
        "batch",
        "single 4",
        *["batch"] * (IMAGES - 2),
    ]
