from collections.abc import Callable

import pytest

from imgsvc import __version__
from imgsvc.config import Settings
from standins.openai import openai_standin
from standins.pictures import as_base64, picture
from standins.service import Caller, running_service

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_health_tells_that_all_is_well_and_how_busy_it_is(local: Caller) -> None:
    status, answer = await local.get("/health")
    assert status == 200
    assert answer == {
        "ok": True,
        "version": __version__,
        "ready": True,
        "uptime_seconds": answer["uptime_seconds"],
        "provider": "local",
        "breakers": [],
        "storage": "filesystem",
        "queued": 0,
        "running": 0,
        "callbacks_pending": 0,
        "callbacks_dead": 0,
        "spool_bytes": answer["spool_bytes"],
    }


async def test_probes_answer_ok(local: Caller) -> None:
    assert await local.get("/health/live") == (200, {"ok": True})
    assert await local.get("/health/ready") == (200, {"ok": True, "breakers": []})


async def test_an_image_api_that_is_not_asked_is_named_and_jobs_are_taken_all_the_same(
    make_settings: Callable[..., Settings],
) -> None:
    async with openai_standin() as standin:
        standin.fail_always("insufficient_quota")
        openai = {"api_key": standin.api_key, "base_url": standin.base_url}
        async with running_service(make_settings(openai=openai)) as caller:
            body = {"prompt": "x", "image_base64": as_base64(picture())}
            await caller.run("/process-image-async-b64", body)
            for path in ("/health", "/health/ready"):
                status, answer = await caller.get(path)
                assert (status, answer["ok"]) == (200, True)
                [breaker] = answer["breakers"]
                assert 0 < breaker.pop("probe_in") <= 30
                assert breaker == {
                    "provider": "openai",
                    "model": "gpt-image-2",
                    "state": "open",
                    "reason": "provider_out_of_credit",
                }


async def test_the_storage_is_shown(local: Caller) -> None:
    assert await local.get("/cos/config") == (
        200,
        {
            "input_bucket": "input",
            "output_bucket": "output",
            "input_prefix": "input/",
            "output_prefix": "output/",
            "presign_expires": 3600,
        },
    )


async def test_the_bucket_is_shown_without_its_secrets(
    make_settings: Callable[..., Settings],
) -> None:
    storage = {
        "kind": "s3",
        "endpoint": "http://127.0.0.1:1",
        "region": "eu-de",
        "bucket": "pictures",
        "access_key_id": "the-access-key",
        "secret_access_key": "the-secret-key",
    }
    async with running_service(make_settings(storage=storage)) as caller:
        status, answer = await caller.get("/cos/config")
    assert status == 200
    assert answer == {
        "endpoint": "http://127.0.0.1:1",
        "region": "eu-de",
        "input_bucket": "pictures",
        "output_bucket": "pictures",
        "input_prefix": "input/",
        "output_prefix": "output/",
        "presign_expires": 3600,
    }


async def test_no_answer_tells_which_versions_run_here(local: Caller) -> None:
    async with local.session.get(local.server.url + "/health") as answer:
        assert answer.headers["Server"] == "imgsvc"


async def test_the_front_page_leads_to_the_documentation(local: Caller) -> None:
    async with local.session.get(local.server.url + "/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/docs")
