"""Jobs that are done again when the rules of their client are others, after a restart."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from imgsvc.jobs.models import Job
from imgsvc.web.auth.roles import Role
from standins.openai import openai_standin
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of
from web.refusals import PATHS

pytestmark = pytest.mark.asyncio(loop_scope="module")

BATCH = PATHS[2]
MISSING = {"prompt": "x", "keys": ["shop/missing.png"], "output_prefix": "shop/"}
NO_IMAGE = {"prompt": "x", "image_url": "http://127.0.0.1:1024/"}
FLARE = "gpt-image-2.6-flare"

JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "input": (BATCH, MISSING),
    "output": (BATCH, MISSING),
    "gone": (BATCH, MISSING | {"input_bucket": "gone"}),
    "models": (PATHS[0], NO_IMAGE | {"model": FLARE}),
    "hosts": (PATHS[0], NO_IMAGE),
    "kept": (PATHS[0], NO_IMAGE | {"priority": 9}),
    "same": (BATCH, MISSING),
}
"""What each client has asked for, before it was held to anything."""

RULES: dict[str, Any] = {
    "input": {"buckets": ["input/shop/missing.png/", "output"]},
    "output": {"buckets": ["input/shop/", "output/sho/"]},
    "models": {"models": ["openai/gpt-image-2"]},
    "hosts": {"callback_hosts": ["hooks.shop.example"]},
    "kept": {"models": ["openai"], "max_priority": 1, "callback_hosts": ["127.0.0.1"]},
    "same": {"buckets": ["input/shop/", "output/shop"]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jobs(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Caller, dict[str, Job]]]:
    """Run the service as it was, and then with the rules; yield it with the jobs from before."""
    folder = tmp_path_factory.mktemp("later") / "data"
    (folder / "files" / "gone").mkdir(parents=True)
    (folder / "files" / "input").mkdir()
    made: dict[str, Job] = {}
    async with openai_standin() as api:
        openai: dict[str, Any] = {"api_key": api.api_key, "base_url": api.base_url}
        openai |= {"models": ["gpt-image-2", FLARE]}
        rooms: dict[str, Any] = {"openai": openai}
        async with guarded_service(folder, storage={"allow_buckets": ["gone"]}, **rooms) as service:
            for client, (path, body) in JOBS.items():
                key = await key_of(service, client, list(Role))
                headers = {"X-API-Key": key, "callbackUrl": service.receiver.url}
                _, accepted, _ = await ask(service, "POST", path, headers, body)
                made[client] = await service.until(accepted["job_id"], lambda job: job.is_settled)
        async with guarded_service(folder, clients=RULES, **rooms) as service:
            yield service, made


async def retry(service: Caller, job: Job, client: str) -> tuple[int, Any]:
    headers = {"X-API-Key": await key_of(service, client, list(Role))}
    status, answer, _ = await ask(service, "POST", f"/jobs/{job.id}/retry", headers)
    return status, answer


@pytest.mark.parametrize(
    ("client", "rule"),
    [
        ("input", "buckets"),
        ("output", "buckets"),
        ("models", "models"),
        ("hosts", "callback_hosts"),
    ],
)
@pytest.mark.parametrize("own", [True, False], ids=["client", "operator"])
async def test_what_its_client_may_do_no_longer_is_refused_at_once(
    jobs: tuple[Caller, dict[str, Job]], client: str, rule: str, *, own: bool
) -> None:
    service, made = jobs
    status, problem = await retry(service, made[client], client if own else "operator")
    assert (status, problem.get("code")) == (403, "not_allowed_for_client"), problem
    assert problem["rule"] == rule


async def test_a_bucket_that_the_server_uses_no_longer_is_refused_at_once(
    jobs: tuple[Caller, dict[str, Job]],
) -> None:
    service, made = jobs
    status, problem = await retry(service, made["gone"], "gone")
    assert (status, problem.get("code")) == (403, "bucket_not_allowed"), problem


async def test_what_is_allowed_still_is_done_again_within_the_new_rules(
    jobs: tuple[Caller, dict[str, Job]],
) -> None:
    service, made = jobs
    assert (await retry(service, made["same"], "same"))[0] == 202
    assert (made["kept"].priority, made["kept"].spec.options.models) == (9, None)
    status, again = await retry(service, made["kept"], "kept")
    assert status == 202
    job = await service.server.service.backend.get(again["job_id"])
    assert (job.priority, job.spec.options.models) == (1, ("openai",))
