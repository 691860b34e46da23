"""The service tidies up by itself."""

import asyncio
from collections.abc import Callable

import pytest

from imgsvc.config import Settings
from imgsvc.errors import JobNotFound
from imgsvc.jobs import JobBackend, Upkeep
from standins.pictures import as_base64, picture
from standins.service import running_service


async def until_settled(backend: JobBackend, job_id: str) -> None:
    with backend.watch(job_id) as happened:
        while not (await backend.get(job_id)).is_settled:
            happened.clear()
            await happened.wait()


async def test_a_service_forgets_at_its_start_what_has_grown_old_meanwhile(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    async with running_service(settings) as caller:
        body = {"prompt": "x", "image_base64": as_base64(picture())}
        _, accepted = await caller.post("/process-image-async-b64", body)
        await until_settled(caller.server.service.backend, accepted["job_id"])
    blobs = settings.data_dir / "spool" / "blobs"
    assert len(list(blobs.iterdir())) == 1  # the callback's body

    tidy, tidied = Upkeep.tidy, asyncio.Event()

    async def tidy_and_tell(upkeep: Upkeep) -> None:
        await tidy(upkeep)
        tidied.set()

    monkeypatch.setattr(Upkeep, "tidy", tidy_and_tell)
    async with running_service(make_settings(backend={"retention": 1e-6})) as caller:
        await tidied.wait()
        with pytest.raises(JobNotFound):
            await caller.server.service.backend.get(accepted["job_id"])
        assert list(blobs.iterdir()) == []
