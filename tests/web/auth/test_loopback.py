"""A server on loopback that somebody passes others' requests on to."""

from pathlib import Path

from imgsvc.web.auth.roles import Role
from web.auth.callers import ask, guarded_service, key_of
from web.refusals import PATHS, PHOTO


async def test_loopback_is_closed_to_whoever_has_a_key(tmp_path: Path) -> None:
    async with guarded_service(tmp_path / "data", callbacks={"allow_networks": []}) as service:
        inside = service.receiver.url
        key = {"X-API-Key": await key_of(service, "ann", list(Role))}
        outside = key | {"callbackUrl": "https://hooks.example.com/"}
        by_url = PHOTO | {"image_base64": None, "image_url": inside}
        for path, body, name, headers in (
            (PATHS[0], PHOTO, "callbackUrl", key | {"callbackUrl": inside}),
            (PATHS[1], PHOTO, "callbackUrl", key | {"callbackUrl": inside}),
            (PATHS[2], {"prompt": "grey"}, "callbackUrl", key | {"callbackUrl": inside}),
            (PATHS[2], {"prompt": "grey"}, "progressUrl", outside | {"progressUrl": inside}),
            (PATHS[0], by_url, "image_url", outside),
        ):
            status, problem, _ = await ask(service, "POST", path, headers, body)
            assert (status, problem["code"]) == (400, "forbidden_url")
            assert problem["detail"].startswith(f"{name}: ")
            assert "callbacks.allow_networks or callbacks.allow_hosts" in problem["detail"]
        assert (await ask(service, "GET", "/jobs", key))[1]["jobs"] == []
        assert service.receiver.received == []
