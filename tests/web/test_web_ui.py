"""A Stable Diffusion web UI that steps in for OpenAI's API, as callers see it."""

from pathlib import Path

from imgsvc.config import Settings
from standins.automatic1111 import automatic1111_standin
from standins.openai import openai_standin
from standins.pictures import as_base64, picture
from standins.service import running_service, service_settings

TO_BASE64 = "/process-image-async-b64"


async def test_a_web_ui_steps_in_when_openai_is_out_of_credit(tmp_path: Path) -> None:
    async with openai_standin() as openai, automatic1111_standin(auth=False) as web_ui:
        openai.fail_always("insufficient_quota")
        settings = service_settings(
            tmp_path,
            openai={"api_key": openai.api_key, "base_url": openai.base_url},
            providers=[
                {
                    "kind": "automatic1111",
                    "name": "gpu",
                    "base_url": web_ui.url,
                    "models": ["sd_xl_base_1.0"],
                }
            ],
        )
        async with running_service(Settings.model_validate(settings)) as caller:
            callback = await caller.run(
                TO_BASE64, {"prompt": "make it pop", "image_base64": as_base64(picture())}
            )

    shown = ("status", "provider", "model", "fallback", "fallback_reason")
    assert {name: callback[name] for name in shown} == {
        "status": "completed",
        "provider": "gpu",
        "model": "sd_xl_base_1.0",
        "fallback": True,
        "fallback_reason": "provider_out_of_credit",
    }
    assert [call.prompt for call in web_ui.calls] == ["make it pop"]


async def test_a_request_can_name_the_web_ui(tmp_path: Path) -> None:
    async with automatic1111_standin(auth=False) as web_ui:
        entry = {
            "kind": "automatic1111",
            "name": "gpu",
            "base_url": web_ui.url,
            "models": ["sd_xl_base_1.0", "v1-5-inpainting"],
        }
        settings = Settings.model_validate(service_settings(tmp_path, providers=[entry]))
        async with running_service(settings) as caller:
            body = {"prompt": "x", "image_base64": as_base64(picture()), "model": "v1-5-inpainting"}
            callback = await caller.run(TO_BASE64, body)
            status, refusal = await caller.post(TO_BASE64, body | {"quality": "high"})

    assert (callback["provider"], callback["fallback"]) == ("gpu", False)
    assert callback["model"] == "v1-5-inpainting"
    assert (status, refusal["code"]) == (422, "not_offered_by_model")
