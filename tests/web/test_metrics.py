from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imgsvc import __version__
from imgsvc.config import Settings
from imgsvc.errors import AccessError, ImgsvcError, RequestError
from imgsvc.web.auth.roles import Role
from imgsvc.web.refusals import no_refusals
from standins.openai import openai_standin
from standins.pictures import as_base64, picture
from standins.service import Caller, running_service
from web.auth.callers import ask, guarded_service, key_of

pytestmark = pytest.mark.asyncio(loop_scope="package")

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def figures(caller: Caller) -> Figures:
    """Return what /metrics shows, by name and labels."""
    async with caller.session.get(caller.server.url + "/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> Any:
    return name, frozenset(labels.items())


async def test_an_idle_server_shows_every_figure(local: Caller) -> None:
    shown = await figures(local)
    assert shown[key("imgsvc_info", version=__version__)] == 1
    for state in ("queued", "running"):
        assert shown[key("imgsvc_jobs", state=state)] == 0
    for state in ("pending", "dead"):
        assert shown[key("imgsvc_callbacks", state=state)] == 0
    assert shown[key("imgsvc_spool_bytes")] > 0  # the record itself
    assert shown[key("imgsvc_spool_limit_bytes")] == 50 * 2**30
    assert shown[key("process_start_time_seconds")] > 0


async def test_every_code_of_a_refusal_begins_with_zero() -> None:
    def codes(error: type[ImgsvcError]) -> set[str]:
        own = {error.code} if error.status in {401, 403, 429} else set()
        return own.union(*(codes(kind) for kind in error.__subclasses__()))

    assert set(no_refusals()) == codes(RequestError) - {AccessError.code}  # which is never raised


async def test_refusals_are_counted_by_their_code_from_zero_on(tmp_path: Path) -> None:
    rooms = {"auth": {"public_metrics": True, "max_failures": 1}}
    async with guarded_service(
        tmp_path / "data", clients={"held": {"requests_per_minute": 2}}, **rooms
    ) as service:
        names = [
            key("imgsvc_refused_requests_total", code=code)
            for code in (
                "credentials_missing",
                "credentials_invalid",
                "too_many_failures",
                "role_missing",
                "client_limit_reached",
                "link_invalid",
            )
        ]
        shown = await figures(service)
        assert [shown[name] for name in names] == [0] * 6
        held = {"X-API-Key": await key_of(service, "held", [Role.READ])}
        for path, headers, status in (
            ("/jobs", held, 200),
            ("/keys", held, 403),
            ("/jobs", held, 429),
            ("/jobs", {}, 401),
            ("/jobs", {"X-API-Key": "nonsense"}, 401),
            ("/jobs", {"X-API-Key": "nonsense"}, 429),
            ("/jobs", {"X-API-Key": "nonsense"}, 429),
            ("/files/output/x?expires=1&signature=x", {}, 403),
            ("/nowhere", {}, 404),
        ):
            assert (await ask(service, "GET", path, headers))[0] == status
        shown = await figures(service)
        assert [shown[name] for name in names] == [1, 1, 2, 1, 1, 1]
        assert key("imgsvc_refused_requests_total", code="not_found") not in shown


async def test_two_services_in_one_process_have_figures_of_their_own(
    local: Caller, make_settings: Callable[..., Settings]
) -> None:
    async with running_service(make_settings(backend={"max_spool_bytes": 1_000_000})) as other:
        assert (await figures(other))[key("imgsvc_spool_limit_bytes")] == 1_000_000
        assert (await figures(local))[key("imgsvc_spool_limit_bytes")] == 50 * 2**30


async def test_a_job_in_work_is_counted_with_what_it_keeps_on_disk(
    make_settings: Callable[..., Settings],
) -> None:
    async with openai_standin() as standin:
        standin.fail_always("hang")
        openai = {"api_key": standin.api_key, "base_url": standin.base_url}
        async with running_service(make_settings(openai=openai)) as caller:
            before = await figures(caller)
            body = {"prompt": "x", "image_base64": as_base64(picture())}
            assert (await caller.post("/process-image-async-b64", body))[0] == 202
            await standin.arrived.wait()
            during = await figures(caller)
    assert during[key("imgsvc_jobs", state="running")] == 1
    assert during[key("imgsvc_spool_bytes")] > before[key("imgsvc_spool_bytes")]


async def test_edits_that_wait_for_their_turn_are_shown_beside_those_in_work(
    make_settings: Callable[..., Settings],
) -> None:
    async with openai_standin() as standin:
        standin.fail_always("hang")
        openai = {"api_key": standin.api_key, "base_url": standin.base_url, "max_in_flight": 1}
        async with running_service(make_settings(openai=openai)) as caller:
            waiting = key("imgsvc_provider_waiting", provider="openai")
            in_flight = key("imgsvc_provider_in_flight", provider="openai")
            idle = await figures(caller)
            body = {"prompt": "x", "image_base64": as_base64(picture())}
            for _ in range(3):
                assert (await caller.post("/process-image-async-b64", body))[0] == 202
            while (shown := await figures(caller))[waiting] < 2:
                pass  # the workers have not come so far
    assert (idle[waiting], idle[in_flight]) == (0, 0)
    assert (shown[waiting], shown[in_flight], len(standin.calls)) == (2, 1, 1)


async def test_calls_of_the_image_api_are_counted_and_its_breaker_shown_until_it_closes(
    make_settings: Callable[..., Settings],
) -> None:
    async with openai_standin() as standin:
        openai = {"api_key": standin.api_key, "base_url": standin.base_url}
        routing = {"open_seconds": 1e-6}
        async with running_service(make_settings(openai=openai, routing=routing)) as caller:
            standin.fail_next("insufficient_quota")
            body = {"prompt": "x", "image_base64": as_base64(picture())}
            breaker = key("imgsvc_breaker_state", provider="openai", model="gpt-image-2")
            states = []
            for _ in range(2):
                await caller.run("/process-image-async-b64", body)
                shown = await figures(caller)
                states.append(shown[breaker])
    assert states == [1, 0]  # half-open at once, then closed
    for outcome in ("edited", "provider_out_of_credit"):
        assert shown[key("imgsvc_provider_calls_total", provider="openai", outcome=outcome)] == 1
