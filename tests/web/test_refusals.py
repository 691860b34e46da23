"""What is refused at once, with a problem document that says why."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from yarl import URL

from imgsvc.config import Settings
from standins.openai import openai_standin
from standins.pictures import as_base64, encoded, picture
from standins.service import Caller, running_service
from web.refusals import PATHS, PHOTO, assert_problem, raw

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"image_base64": "not base64!"}, 400, "invalid_base64"),
        ({"image_base64": ""}, 400, "invalid_base64"),
        ({"image_base64": " \n"}, 400, "invalid_base64"),
        ({"image_base64": as_base64(b"hello world")}, 422, "not_an_image"),
        ({"image_base64": as_base64(b"%!PS-Adobe-3.0 EPSF-3.0\n")}, 415, "unsupported_image_type"),
        ({"image_base64": as_base64(b"<svg xmlns='x'/>")}, 415, "unsupported_image_type"),
        ({"image_base64": as_base64(picture()[:20])}, 422, "corrupt_image"),
        ({"image_base64": as_base64(bytes(400_000))}, 413, "image_file_too_large"),
        ({"mask_base64": as_base64(picture())}, 422, "invalid_mask"),
        ({"mask_base64": as_base64(picture(9, 9, mode="RGBA"))}, 422, "invalid_mask"),
        ({"mask_base64": "?"}, 400, "invalid_base64"),
        ({"mask_base64": ""}, 400, "invalid_base64"),
        ({"image_base64": None, "image_url": "ftp://x/y.png"}, 400, "invalid_url"),
        ({"image_base64": None, "image_url": "http://10.0.0.1/y.png"}, 400, "forbidden_url"),
        ({"image_base64": None, "image_url": "http://169.254.169.254/"}, 400, "forbidden_url"),
    ],
)
async def test_an_image_that_cannot_be_used_is_refused_at_once(
    remote: Caller, change: dict[str, Any], status: int, code: str
) -> None:
    answered, problem = await remote.post(PATHS[0], PHOTO | change)
    assert answered == status
    assert_problem(status, problem, code)


async def test_too_many_pixels_are_refused_before_they_are_decoded(remote: Caller) -> None:
    bomb = encoded(Image.new("1", (8000, 8000)), "PNG")
    status, problem = await remote.post(PATHS[0], PHOTO | {"image_base64": as_base64(bomb)})
    assert (status, problem["code"]) == (422, "image_too_large")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": "x" * 32_001}, "prompt"),
        ({"prompt": ["x"]}, "prompt"),
        ({"filename": "x" * 1025}, "filename"),
        ({"quality": "best"}, "quality"),
        ({"size": "huge"}, "size"),
        ({"size": "100x100"}, "size"),
        ({"size": "16x1600"}, "size"),
        ({"background": "blue"}, "background"),
        ({"output_format": "gif"}, "output_format"),
        ({"fallback": "maybe"}, "fallback"),
        ({"priority": 10}, "priority"),
        ({"priority": "1"}, "priority"),
        ({"priority": True}, "priority"),
        ({"model": "a b"}, "model"),
        ({"promt": "x"}, "promt"),
        ({"image_base64": None}, "body"),
        ({"image_url": "https://example.com/a.png"}, "body"),
    ],
)
async def test_a_wrong_field_is_refused_by_name(
    local: Caller, change: dict[str, Any], field: str
) -> None:
    status, problem = await local.post(PATHS[0], PHOTO | change)
    assert status == 422
    assert_problem(422, problem, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_all_wrong_fields_are_named_at_once(local: Caller) -> None:
    _, problem = await local.post(PATHS[2], {"prmpt": "x", "concurrency": 0, "quality": 1})
    named = {error["field"] for error in problem["errors"]}
    assert named == {"prompt", "prmpt", "concurrency", "quality"}


async def test_more_concurrency_than_there_are_workers_is_refused(local: Caller) -> None:
    status, problem = await local.post(PATHS[2], {"prompt": "x", "concurrency": 9})
    assert status == 422
    assert problem["errors"] == [{"field": "concurrency", "message": "at most 8 on this server"}]


@pytest.mark.parametrize("field", ["input_prefix", "output_prefix"])
@pytest.mark.parametrize("prefix", ["../../etc", "a/./b", "x" * 400, "x/" * 237 + "ä/"])
async def test_a_prefix_that_is_no_folder_of_a_bucket_is_refused(
    local: Caller, field: str, prefix: str
) -> None:
    status, problem = await local.post(PATHS[2], {"prompt": "x", field: prefix})
    assert_problem(status, problem, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "missing_callback_url"),
        ("example.com/x", "invalid_url"),
        ("ftp://example.com/x", "invalid_url"),
        ("http://user:pass@example.com/", "invalid_url"),
        ("http://2130706433/", "invalid_url"),
        ("http://192.168.1.7/x", "forbidden_url"),
        ("http://[fd00:ec2::254]/", "forbidden_url"),
        ("http://example.com:25/", "forbidden_url"),
        ("http://[2606:4700::5efe:10.0.0.1]/", "forbidden_url"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
async def test_a_callback_url_that_cannot_work_is_refused_at_once(
    local: Caller, path: str, url: str, code: str
) -> None:
    status, problem = await local.post(path, PHOTO, callbackUrl=url)
    assert status == 400
    assert_problem(status, problem, code)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/x", "Send an absolute http or https URL"),
        ("http://10.0.0.1/x", "callbacks.allow_networks or callbacks.allow_hosts"),
        ("http://example.com:25/", "the port 25, which this server does not call. An operator"),
    ],
)
async def test_a_refused_url_is_named_by_where_it_was_sent(
    local: Caller, url: str, said: str
) -> None:
    image = PHOTO | {"image_base64": None, "image_url": url}
    for name, (_, problem) in (
        ("callbackUrl", await local.post(PATHS[0], PHOTO, callbackUrl=url)),
        ("progressUrl", await local.post(PATHS[2], {"prompt": "x"}, progressUrl=url)),
        ("image_url", await local.post(PATHS[1], image)),
    ):
        assert problem["detail"].startswith(f"{name}: The URL ")
        assert said in problem["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_no_url_may_lead_to_the_server_itself(remote: Caller, host: str) -> None:
    own = f"http://{host}:{URL(remote.server.url).port}/process-image-async"
    image = PHOTO | {"image_base64": None, "image_url": own}
    for name, (status, problem) in (
        ("callbackUrl", await remote.post(PATHS[0], PHOTO, callbackUrl=own)),
        ("image_url", await remote.post(PATHS[0], image)),
        ("progressUrl", await remote.post(PATHS[2], {"prompt": "x"}, progressUrl=own)),
    ):
        assert_problem(status, problem, "forbidden_url")
        assert problem["detail"] == f"{name}: The URL leads to this server itself."
    status, listed = await remote.get("/jobs?state=queued")
    assert listed["jobs"] == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_request_without_a_callback_url_is_refused(local: Caller, path: str) -> None:
    async with local.session.post(local.server.url + path, json=PHOTO) as answer:
        assert answer.status == 400
        assert (await answer.json(content_type=None))["code"] == "missing_callback_url"


async def test_two_callback_urls_are_refused(local: Caller) -> None:
    headers = [("callbackUrl", "http://a.example/"), ("callbackUrl", "http://b.example/")]
    async with local.session.post(
        local.server.url + PATHS[0], json=PHOTO, headers=headers
    ) as answer:
        assert answer.status == 400
        assert (await answer.json(content_type=None))["code"] == "invalid_url"


async def test_unknown_paths_and_methods_are_problems_too(local: Caller) -> None:
    async with local.session.get(local.server.url + "/nothing") as answer:
        assert_problem(answer.status, await answer.json(content_type=None), "not_found")
    async with local.session.get(local.server.url + PATHS[0]) as answer:
        assert answer.headers["Allow"] == "POST"
        assert_problem(answer.status, await answer.json(content_type=None), "method_not_allowed")


async def test_a_full_queue_answers_503_with_retry_after_and_keeps_nothing(
    make_settings: Callable[..., Settings],
) -> None:
    async with openai_standin() as standin:
        standin.fail_always("hang")
        settings = make_settings(
            openai={"api_key": standin.api_key, "base_url": standin.base_url},
            workers={"count": 1},
            backend={"max_queued": 1},
            server={"drain_timeout": 0},
        )
        async with running_service(settings) as caller:
            await caller.post(PATHS[0], PHOTO)
            await standin.arrived.wait()
            await caller.post(PATHS[0], PHOTO)
            blobs = settings.data_dir / "spool" / "blobs"
            kept = len(list(blobs.iterdir()))
            status, problem, headers = await raw(caller, json.dumps(PHOTO).encode())
            assert status == 503
            assert_problem(status, problem, "queue_full")
            assert int(headers["Retry-After"]) > 0
            assert len(list(blobs.iterdir())) == kept


async def test_while_it_drains_the_service_takes_no_new_jobs(
    make_settings: Callable[..., Settings],
) -> None:
    async with running_service(make_settings()) as caller:
        caller.server.service.readiness.drain()
        for path in PATHS:
            status, problem, headers = await raw(caller, json.dumps(PHOTO).encode(), path)
            assert_problem(status, problem, "shutting_down")
            assert (status, int(headers["Retry-After"]) > 0) == (503, True)
        assert (await caller.get("/health/ready"))[0] == 503
        assert (await caller.get("/health/live"))[0] == 200
        assert (await caller.get("/health"))[1]["ready"] is False
