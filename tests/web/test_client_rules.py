"""What a client may not do, tried in every way, over a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks.webhooks import Webhook

from imgsvc.storage import FilesystemConfig
from imgsvc.web.auth.roles import Role
from standins.openai import OpenAIStandin, openai_standin
from standins.receiver import Received
from standins.service import Caller
from web.auth.callers import ask, guarded_service, key_of
from web.refusals import PATHS, PHOTO, assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

BATCH = PATHS[2]
OWN = "whsec_" + "A" * 32
COMMON = "whsec_" + "B" * 32
CLIENTS: dict[str, Any] = {
    "shop": {"buckets": ["input/shop/", "output/shop/"]},
    "archive": {"buckets": ["archive"]},
    "modest": {"models": ["gpt-image-2.6-flare", "spare/gpt-image-2"], "max_priority": 3},
    "flare": {"models": ["gpt-image-2.6-flare"]},
    "usual": {"models": ["openai/gpt-image-2"]},
    "local": {"models": ["local", "gpt-image-2"]},
    "homely": {"callback_hosts": ["127.0.0.1", "hooks.shop.example"]},
    "nobody": {"callback_hosts": [], "buckets": [], "models": []},
    "poor": {"day_usd": 0.001},
    "signing": {"signing_secrets": [OWN]},
    "unsigned": {"signing_secrets": []},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, api: OpenAIStandin
) -> AsyncIterator[Caller]:
    image_api: dict[str, Any] = {"api_key": api.api_key, "base_url": api.base_url}
    rooms: dict[str, Any] = {
        "clients": CLIENTS,
        "storage": FilesystemConfig(
            allow_buckets=["archive", "archive-secret"], output_prefix="output/"
        ),
        "openai": image_api | {"models": ["gpt-image-2", "gpt-image-2.6-flare"]},
        "providers": [
            image_api | {"name": "spare", "models": ["gpt-image-2", "gpt-image-2.6-sunburst"]}
        ],
        "callbacks": {"signing_secrets": [COMMON]},
    }
    async with guarded_service(tmp_path_factory.mktemp("ruled") / "data", **rooms) as caller:
        yield caller


async def post(
    service: Caller, client: str, path: str, body: Any, **headers: str
) -> tuple[int, Any]:
    key = await key_of(service, client, list(Role))
    given = {"X-API-Key": key, "Prefer": "respond-async"} | headers
    status, answer, _ = await ask(service, "POST", path, given, body)
    return status, answer


async def refused(service: Caller, client: str, path: str, body: Any, **headers: str) -> Any:
    status, problem = await post(service, client, path, body, **headers)
    assert_problem(status, problem, "not_allowed_for_client")
    assert status == 403
    return problem


# -- buckets --------------------------------------------------------------------------------

IN, OUT = {"input_prefix": "shop/"}, {"output_prefix": "shop/results"}


@pytest.mark.parametrize("dry_run", [False, True], ids=["run", "dry-run"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        IN,
        OUT,
        OUT | {"input_prefix": ""},
        OUT | {"input_prefix": "/"},
        OUT | {"input_prefix": "sho"},
        OUT | {"input_prefix": "shop-secret/"},
        OUT | {"input_prefix": "SHOP/"},
        OUT | {"input_prefix": "other/shop/"},
        OUT | {"input_prefix": "shop%2Fx"},
        OUT | IN | {"input_bucket": "archive"},
        OUT | IN | {"input_bucket": "output", "input_prefix": "output/shop/"},
        OUT | IN | {"output_bucket": "archive"},
        IN | {"output_prefix": ""},
        IN | {"output_prefix": "shop-secret"},
        IN | {"output_prefix": "shopping/shop/"},
        OUT | {"keys": ["secret/a.png"]},
        OUT | {"keys": ["shop-secret/a.png"]},
        OUT | {"keys": ["shop"]},
        OUT | {"keys": [*(f"shop/{n}.png" for n in range(9_999)), "shopx/a.png"]},
    ],
    ids=str,
)
async def test_a_batch_stays_in_the_folders_of_its_client(
    service: Caller, fields: dict[str, Any], *, dry_run: bool
) -> None:
    body = {"prompt": "x", "dry_run": dry_run, **fields}
    problem = await refused(service, "shop", BATCH, body)
    assert (problem["rule"], problem["allowed"]) == ("buckets", ["input/shop/", "output/shop/"])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (IN, "output/output/ (output_prefix, which is output/ where none is named)"),
        (OUT, "input/input/ (input_prefix, which is input/ where none is named)"),
        (IN | {"output_prefix": "x"}, "output/x/ (output_prefix)"),
        (OUT | {"input_prefix": "x"}, "input/x/ (input_prefix)"),
        (OUT | {"keys": ["shop/a.png", "x/a.png"]}, "input/x/a.png (keys)"),
    ],
    ids=str,
)
async def test_a_refusal_says_which_field_it_is_about_and_what_it_is_where_none_is_named(
    service: Caller, fields: dict[str, Any], told: str
) -> None:
    problem = await refused(service, "shop", BATCH, {"prompt": "x", **fields})
    assert problem["detail"] == (
        f"This client may not use {told}: buckets allows input/shop/, output/shop/."
        " Ask the operator for more."
    )


@pytest.mark.parametrize("name", ["shop/../secret", "shop/./../secret/", "..", "shop/..//secret"])
@pytest.mark.parametrize("field", ["input_prefix", "output_prefix", "keys"])
async def test_a_way_out_of_a_folder_is_no_folder(service: Caller, field: str, name: str) -> None:
    body: dict[str, Any] = {"prompt": "x", **IN, **OUT, field: name}
    if field == "keys":
        del body["input_prefix"]
        body["keys"] = [f"{name}/a.png"]
    status, problem = await post(service, "shop", BATCH, body)
    assert (status, problem["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("client", "fields"),
    [
        ("shop", {"input_prefix": "shop", **OUT}),
        ("shop", {"input_prefix": "//shop//spring/", "output_prefix": "/shop/"}),
        ("shop", {"keys": ["shop/a.png", "shop/b/c.png"], **OUT}),
        ("archive", {"input_bucket": "archive", "output_bucket": "archive", "input_prefix": ""}),
        ("somebody", {}),
        ("somebody", {"input_bucket": "archive-secret", "output_bucket": "archive"}),
    ],
)
async def test_what_is_in_them_is_taken(
    service: Caller, client: str, fields: dict[str, Any]
) -> None:
    status, answer = await post(service, client, BATCH, {"prompt": "x", "dry_run": True, **fields})
    assert status == 200, answer


async def test_a_bucket_is_not_another_whose_name_begins_alike(service: Caller) -> None:
    for name in ("archive-secret", "input", None):
        body = {"prompt": "x", "input_bucket": name, "output_bucket": "archive"}
        problem = await refused(service, "archive", BATCH, body)
        assert problem["allowed"] == ["archive/"]
    body = {"prompt": "x", "input_bucket": "archive/", "output_bucket": "archive"}
    status, problem = await post(service, "archive", BATCH, body)
    assert (status, problem["code"]) == (403, "bucket_not_allowed")


# -- models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("client", "model"),
    [
        ("flare", None),
        ("flare", "gpt-image-2"),
        ("flare", "openai"),
        ("flare", "spare"),
        ("flare", "spare/gpt-image-2.6-sunburst"),
        ("flare", "local"),
        ("modest", "openai/gpt-image-2"),
        ("nobody", None),
    ],
)
async def test_a_model_that_is_not_allowed_edits_nothing_by_whichever_name(
    service: Caller, api: OpenAIStandin, path: str, client: str, model: str | None
) -> None:
    calls = len(api.calls)
    body: dict[str, Any] = {"prompt": "x"} if path == BATCH else dict(PHOTO)
    if client == "nobody" and path == BATCH:
        body["dry_run"] = True
    problem = await refused(service, client, path, body | {"model": model})
    assert (problem["rule"], problem["allowed"]) == ("models", CLIENTS[client]["models"])
    assert len(api.calls) == calls


async def run(service: Caller, client: str, **fields: Any) -> Any:
    """Edit a picture, and return the job as callers see it."""
    status, accepted = await post(service, client, PATHS[0], PHOTO | fields)
    assert status == 202, accepted
    await service.until(accepted["job_id"], lambda job: job.finished_at is not None)
    key = {"X-API-Key": await key_of(service, client, list(Role))}
    return (await ask(service, "GET", f"/jobs/{accepted['job_id']}", key))[1]


@pytest.mark.parametrize(
    ("client", "asked", "provider", "model"),
    [
        ("modest", "gpt-image-2.6-flare", "openai", "gpt-image-2.6-flare"),
        ("modest", "gpt-image-2", "spare", "gpt-image-2"),  # of two that have it
        ("modest", "spare", "spare", "gpt-image-2"),
        ("modest", None, "spare", "gpt-image-2"),  # the usual one of the other is not allowed
        ("usual", None, "openai", "gpt-image-2"),
        ("local", "local", "local", None),
    ],
)
async def test_a_model_that_is_allowed_edits(
    service: Caller, client: str, asked: str | None, provider: str, model: str | None
) -> None:
    job = await run(service, client, model=asked)
    assert (job["state"], job["provider"], job.get("model")) == ("completed", provider, model)


async def test_no_other_model_steps_in_when_an_image_api_fails(
    service: Caller, api: OpenAIStandin
) -> None:
    api.fail_always("insufficient_quota")
    try:
        before = len(api.calls)
        job = await run(service, "usual")
        asked = [call.fields["model"] for call in list(api.calls)[before:]]
    finally:
        api.fail_always(None)
    assert (job["state"], job["provider"]) == ("completed", "local")
    assert asked == ["gpt-image-2"]  # and not the spare one's


async def test_a_client_spends_no_more_dollars_than_its_own(service: Caller) -> None:
    job = await run(service, "poor", model="gpt-image-2.6-flare")
    assert (job["provider"], job["fallback_reason"]) == ("local", "budget_spent")
    job = await run(service, "somebody", model="gpt-image-2.6-flare")
    assert job["provider"] == "openai"


# -- priority -------------------------------------------------------------------------------


async def test_a_priority_is_at_most_what_is_allowed(service: Caller) -> None:
    model = {"model": "gpt-image-2.6-flare"}
    bodies: list[tuple[str, dict[str, Any]]] = [
        (PATHS[0], PHOTO),
        (PATHS[1], PHOTO),
        (BATCH, {"prompt": "x"}),
    ]
    bodies.append((BATCH, {"prompt": "x", "dry_run": True}))
    for path, body in bodies:
        problem = await refused(service, "modest", path, body | model | {"priority": 4})
        assert (problem["rule"], problem["allowed"]) == ("max_priority", [3])
        assert "max_priority allows up to 3." in problem["detail"]
    for asked, expected in ((3, 3), (0, 0), (None, 3)):
        body = PHOTO | model | {"priority": asked}
        status, accepted = await post(service, "modest", PATHS[0], body)
        assert status == 202
        assert (await service.server.service.backend.get(accepted["job_id"])).priority == expected


# -- callbacks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/cb",
        "http://127.0.0.2:{port}/cb",
        "http://hooks.shop.example.evil.example/cb",
        "http://evil.example/hooks.shop.example",
        "http://evil.example/?127.0.0.1",
        "http://xhooks.shop.example/",
        "http://sub.hooks.shop.example/",
        "http://[::1]:{port}/cb",
    ],
)
@pytest.mark.parametrize("header", ["callbackUrl", "CALLBACKURL", "progressUrl"])
async def test_no_other_host_is_called(service: Caller, header: str, url: str) -> None:
    given = {header: url.format(port=service.receiver.port)}
    problem = await refused(service, "homely", BATCH, {"prompt": "x"}, **given)
    assert (problem["rule"], problem["allowed"]) == (
        "callback_hosts",
        CLIENTS["homely"]["callback_hosts"],
    )
    await refused(service, "nobody", BATCH, {"prompt": "x"}, callbackUrl=service.receiver.url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/cb",
        "HTTPS://HOOKS.Shop.example./x",
        "http://hooks.shop.example:8080",
    ],
)
async def test_a_host_is_the_same_in_all_its_forms(service: Caller, url: str) -> None:
    body = {"prompt": "x", "dry_run": True}
    given = url.format(port=service.receiver.port)
    status, answer = await post(service, "homely", BATCH, body, callbackUrl=given)
    assert status == 200, answer


async def test_an_allowed_host_is_still_held_to_where_it_leads(service: Caller) -> None:
    given = {"callbackUrl": "http://127.0.0.1:22/"}
    status, problem = await post(service, "homely", PATHS[0], PHOTO, **given)
    assert (status, problem["code"]) == (400, "forbidden_url")


async def callback(service: Caller, client: str) -> Received:
    status, accepted = await post(
        service, client, PATHS[0], PHOTO, callbackUrl=service.receiver.url
    )
    assert status == 202
    async with asyncio.timeout(60):
        while (found := await service.receiver.next()).json.get("job_id") != accepted["job_id"]:
            pass
    return found


async def test_a_callback_is_signed_by_the_secrets_of_its_client_alone(service: Caller) -> None:
    def verifies(received: Received, secret: str) -> bool:
        try:
            Webhook(secret).verify(received.body, dict(received.headers))
        except Exception:  # noqa: BLE001 - whatever it does not like
            return False
        return True

    service.receiver.forget()
    own, common = await callback(service, "signing"), await callback(service, "somebody")
    assert (verifies(own, OWN), verifies(own, COMMON)) == (True, False)
    assert (verifies(common, OWN), verifies(common, COMMON)) == (False, True)
    assert "webhook-signature" not in (await callback(service, "unsigned")).headers
