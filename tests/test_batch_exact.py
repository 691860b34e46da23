"""Counters, manifests and bucket agree to the last object, whatever happened to the server."""

import csv
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from imgsvc.killpoints import KillPoint
from standins import killable
from standins.openai import OpenAIStandin, openai_standin
from standins.pictures import picture
from standins.receiver import Receiver
from standins.server_process import server_process, settle

BATCH = "/batch-process-images"
IMAGES = 12
TOTAL = IMAGES + 4  # with those that are broken, empty, too large, or of the same name

KILLS = [
    pytest.param(point, side, nth, concurrency, id=f"{side}-{point}-{nth}", marks=marks)
    for point, side, nth, concurrency, marks in (
        (KillPoint.RESULT_STORED, "after", 5, 1, ()),
        (KillPoint.RESULT_STORED, "after", 3, 4, pytest.mark.slow),
        (KillPoint.RESULT_STORED, "before", 4, 4, pytest.mark.slow),
        (KillPoint.PROVIDER_CALLED, "before", 6, 4, pytest.mark.slow),
        (KillPoint.PROVIDER_CALLED, "after", 1, 4, pytest.mark.slow),
        (KillPoint.PROVIDER_CALLED, "after", 9, 1, pytest.mark.slow),
        (KillPoint.FINISH_COMMITTED, "before", 1, 4, pytest.mark.slow),
    )
]


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a data folder whose input bucket has images of all sorts."""
    data_dir = tmp_path / "data"
    folder = data_dir / "files" / "input" / "input"
    (folder / "deep").mkdir(parents=True)
    for number in range(IMAGES):
        (folder / f"{number:02}.png").write_bytes(picture(64 + number, 48))
    (folder / "00.jpg").write_bytes(picture(kind="JPEG"))
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "deep" / "empty.png").write_bytes(b"")
    (folder / "large.png").touch()
    os.truncate(folder / "large.png", 2 * 10**9)
    (folder / "notes.txt").write_bytes(b"no image")
    return data_dir


async def submit(url: str, callback_url: str, **fields: Any) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            url + BATCH, json={"prompt": "x", **fields}, headers={"callbackUrl": callback_url}
        ) as answer,
    ):
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["job_id"])


def check(data_dir: Path, body: dict[str, Any], *, folder: str) -> dict[str, dict[str, Any]]:
    """Count all three, and return the rows of the manifest by input key."""
    bucket = data_dir / "files" / "output"
    root = bucket / "output" / folder
    document = json.loads((root / "manifest.json").read_bytes())
    rows = document["items"]
    states = Counter(row["state"] for row in rows)
    counted = {
        "total_files": len(rows) - states["skipped"],
        "processed": states["processed"],
        "fallback_local": states["fallback_local"],
        "failed": states["failed"] + states["not_started"],
        "total_files_processed": states["processed"] + states["fallback_local"],
    }
    assert counted.items() <= body.items()
    assert counted.items() <= document.items()
    assert document["job_id"] == body["job_id"]
    assert states["pending"] == states["running"] == 0

    objects = {
        path.relative_to(bucket).as_posix(): path.stat().st_size
        for path in root.rglob("*")
        if path.is_file() and path.name not in {"manifest.json", "manifest.csv"}
    }
    assert {row["output_key"]: row["bytes"] for row in rows if "output_key" in row} == objects
    with (root / "manifest.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(line["input_key"], line["state"]) for line in table] == [
        (row["input_key"], row["state"]) for row in rows
    ]
    assert [row["input_key"] for row in rows] == sorted({row["input_key"] for row in rows})
    return {row["input_key"].removeprefix("input/"): row for row in rows}


@pytest.mark.parametrize(("point", "side", "nth", "concurrency"), KILLS)
async def test_a_batch_is_exact_after_a_kill_and_pays_for_nothing_that_is_stored(
    data_dir: Path,
    standin: OpenAIStandin,
    receiver: Receiver,
    point: KillPoint,
    side: str,
    nth: int,
    concurrency: int,
) -> None:
    standin.fail_next("moderation_blocked", times=2)
    standin.fail_next("disconnect")
    async with server_process(
        data_dir,
        program=killable.program(point, side, nth=nth),
        environment=standin.environment,
    ) as server:
        job_id = await submit(server.url, receiver.url, concurrency=concurrency)
        assert await server.process.wait() == -signal.SIGKILL
    await settle(data_dir, standin.environment)

    body = receiver.received[-1].json
    assert body["status"] == "completed_with_errors"
    assert body["total_files"] == TOTAL
    rows = check(data_dir, body, folder=job_id)
    assert rows["large.png"]["error"].startswith("ObjectTooLarge: ")
    assert rows["broken.png"]["error"].startswith("NotAnImage: ")
    assert rows["deep/empty.png"]["error"].startswith("NotAnImage: ")
    assert rows["notes.txt"]["state"] == "skipped"
    edits = Counter(call.image.filename for call in standin.calls)
    assert sum(edits.values()) <= IMAGES + 1 + concurrency
    costs = [row["cost_usd"] for row in rows.values() if "cost_usd" in row]
    assert sum(costs) == pytest.approx(body["cost_usd"])
    assert any("cost_unknown" in row for row in rows.values()) == ("cost_unknown" in body)
    if (point, side, concurrency) == (KillPoint.RESULT_STORED, "after", 1):
        assert set(edits.values()) == {1}


@pytest.mark.slow
async def test_a_stop_in_the_middle_begins_nothing_more_and_cuts_nothing_off(
    data_dir: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    standin.latency = 0.3
    async with server_process(data_dir, environment=standin.environment) as server:
        job_id = await submit(server.url, receiver.url, concurrency=2)
        await standin.arrived.wait()
        server.process.send_signal(signal.SIGTERM)
        assert (await server.event("job_interrupted"))["job_id"] == job_id
        assert await server.process.wait() == 0
    assert "drain_incomplete" not in "".join(server.output)
    assert len(standin.calls) < IMAGES
    assert not receiver.received

    await settle(data_dir, standin.environment)
    rows = check(data_dir, receiver.received[-1].json, folder=job_id)
    edits = Counter(call.image.filename for call in standin.calls)
    assert set(edits.values()) == {1}
    assert sum(edits.values()) == IMAGES + 1
    assert {row["attempts"] for row in rows.values() if row["state"] == "processed"} == {1}


@pytest.mark.slow
async def test_a_batch_of_named_images_is_exact_after_a_kill(
    data_dir: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    keys = [f"input/{number:02}.png" for number in range(IMAGES)]
    named = [*keys, "input/gone.png", "input/notes.txt"]
    async with server_process(
        data_dir,
        program=killable.program(KillPoint.RESULT_STORED, "after", nth=5),
        environment=standin.environment,
    ) as server:
        job_id = await submit(server.url, receiver.url, keys=named[::-1], concurrency=1)
        assert await server.process.wait() == -signal.SIGKILL
    await settle(data_dir, standin.environment)

    body = receiver.received[-1].json
    rows = check(data_dir, body, folder=job_id)
    assert (body["total_files"], body["processed"], body["failed"]) == (IMAGES + 1, IMAGES, 1)
    assert [f"input/{key}" for key in rows] == sorted(named)
    assert rows["gone.png"]["error"].startswith("ObjectNotFound: ")
    assert set(Counter(call.image.filename for call in standin.calls).values()) == {1}
    root = f"output/{job_id}/input/"
    assert rows["00.png"]["output_key"] == f"{root}00_modified.png"


@pytest.mark.slow
async def test_doing_a_batch_again_makes_only_what_is_missing_and_the_whole_is_exact(
    data_dir: Path, standin: OpenAIStandin, receiver: Receiver
) -> None:
    standin.fail_next("moderation_blocked", times=3)
    async with (
        server_process(data_dir, environment=standin.environment) as server,
        aiohttp.ClientSession() as session,
    ):

        async def retry(job_id: str) -> tuple[int, dict[str, Any]]:
            async with session.post(f"{server.url}/jobs/{job_id}/retry") as answer:
                return answer.status, await answer.json(content_type=None)

        first = await submit(server.url, receiver.url, concurrency=4)
        body = (await receiver.next()).json
        before = check(data_dir, body, folder=first)
        assert (body["processed"], body["failed"]) == (TOTAL - 6, 6)

        for name in ("broken.png", "large.png"):  # the second one is smaller than it was listed
            (data_dir / "files" / "input" / "input" / name).write_bytes(picture())
        standin.calls.clear()
        status, accepted = await retry(first)
        assert (status, accepted["retry_of"]) == (202, first)
        body = (await receiver.next()).json
        after = check(data_dir, body, folder=first)
        assert (body["job_id"], body["processed"], body["failed"]) == (
            accepted["job_id"],
            TOTAL - 1,
            1,
        )
        failed = {key for key, row in before.items() if row["state"] == "failed"}
        assert len(standin.calls) == 5
        assert {key for key in before if before[key] != after[key]} == failed

        # Once more, of the second one; nothing can be mended now.
        status, accepted = await retry(accepted["job_id"])
        assert status == 202
        body = (await receiver.next()).json
        assert check(data_dir, body, folder=first).keys() == before.keys()
        assert len(standin.calls) == 5

        async with session.get(
            f"{server.url}/jobs/{accepted['job_id']}/items?state=processed&limit=1"
        ) as answer:
            page = await answer.json()
        [row] = page["items"]
        assert row in check(data_dir, body, folder=first).values()
        assert page["next_cursor"]
