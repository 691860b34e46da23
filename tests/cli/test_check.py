import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imgsvc.cli.check import check
from standins.automatic1111 import automatic1111_standin
from standins.configuration import toml
from standins.openai import OpenAIStandin, openai_standin
from standins.receiver import Receiver, reply
from standins.s3 import S3Server
from standins.vault import VaultStandin, vault_standin


@pytest.fixture
async def standin() -> AsyncIterator[OpenAIStandin]:
    async with openai_standin() as running:
        yield running


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGSVC_IMAGES__PROCESSES", "1")


def configure(monkeypatch: pytest.MonkeyPatch, s3: S3Server, **changes: str) -> None:
    variables = {
        "COS_ENDPOINT": s3.endpoint,
        "COS_BUCKET": "checked",
        "COS_ACCESS_KEY_ID": s3.access_key,
        "COS_SECRET_ACCESS_KEY": s3.secret_key,
    }
    for name, value in (variables | changes).items():
        monkeypatch.setenv(name, value)


async def test_nothing_configured_is_all_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert await check(None, connect=False, callback_url=None) == 0
    output = capsys.readouterr().out
    assert "storage: filesystem" in output
    assert "server: will listen on 127.0.0.1:8000" in output
    assert "FAIL" not in output


async def test_every_problem_is_named_not_just_the_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COS_ENDPOINT", "https://s3.example.com")
    monkeypatch.setenv("PORT", "http")
    monkeypatch.setenv("IMGSVC_SEVER__HOST", "0.0.0.0")  # noqa: S104 - not listened on
    assert await check(None, connect=False, callback_url=None) == 1
    output = capsys.readouterr().out
    for name in ("COS_BUCKET", "COS_ACCESS_KEY_ID", "COS_SECRET_ACCESS_KEY", "PORT", "SEVER"):
        assert name in output


@pytest.mark.parametrize(
    ("mode", "code", "said"),
    [
        (None, 1, "FAIL  auth.mode is not set"),
        ("none", 0, "note  auth: none, so anybody"),
        ("api_key", 0, "ok    auth: api_key"),
    ],
)
async def test_it_says_whether_anybody_could_use_the_server(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mode: str | None,
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGSVC_SERVER__HOST", "0.0.0.0")  # noqa: S104 - not listened on
    if mode is not None:
        monkeypatch.setenv("IMGSVC_AUTH__MODE", mode)
    assert await check(None, connect=False, callback_url=None) == code
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("token", "code", "said"),
    [
        (VaultStandin.ROOT, 0, "ok    secrets: imgsvc/production was read, by vault"),
        ("canary", 1, "does not let us read secret/data/imgsvc/production"),
    ],
    ids=["good", "wrong"],
)
async def test_the_secrets_manager_is_read(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    code: int,
    said: str,
) -> None:
    async with vault_standin() as vault:
        for name, value in (vault.environment | {"IMGSVC_SECRETS__VAULT_TOKEN": token}).items():
            monkeypatch.setenv(name, value)
        # As the command does it: without the event loop in which Vault answers.
        checking = check(None, connect=False, callback_url=None)
        assert await asyncio.to_thread(asyncio.run, checking) == code
    output = capsys.readouterr().out
    assert said in output
    assert "canary" not in output


async def test_a_data_folder_that_cannot_be_made_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMGSVC_DATA_DIR", str(tmp_path / "file" / "data"))
    assert await check(None, connect=False, callback_url=None) == 1
    assert "FAIL  data_dir" in capsys.readouterr().out


async def test_a_model_that_ends_is_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_IMAGE_MODEL", "ended")
    monkeypatch.setenv("IMGSVC_OPENAI__MODELS", '[{"name": "ended", "ends": "2026-01-01"}]')
    assert await check(None, connect=False, callback_url=None) == 0
    assert "note  provider: openai took the model ended away on 2026-01-01" in (
        capsys.readouterr().out
    )


async def test_budgets_and_models_that_they_keep_from_being_called_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = toml(
        """
        [budgets]
        job_usd = 0.5
        day_usd = 100
        [[providers]]
        name = "gateway"
        base_url = "https://gateway.example.com/v1"
        api_key = "k"
        models = ["gpt-image-2", "flux", { name = "free", usd_per_image = 0 }]
        """,
        str(tmp_path / "imgsvc.toml"),
    )
    assert await check(file, connect=False, callback_url=None) == 0
    output = capsys.readouterr().out
    assert "ok    budgets: 0.5 USD a job, 100 USD a day; when spent: fall_back" in output
    unpriced = [line for line in output.splitlines() if "is never called" in line]
    assert unpriced == [
        (
            "note  budgets: what flux of gateway costs is not known, so it is never called; set"
            " `price` or `usd_per_image` of the model"
        )
    ]


async def test_an_entry_that_asks_openai_itself_is_noted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entry = '[[providers]]\nname = "gateway"\napi_key = "k"\n'
    file = toml(entry, str(tmp_path / "imgsvc.toml"))
    assert await check(file, connect=False, callback_url=None) == 0
    assert "note  provider: gateway has no base_url, so it asks OpenAI" in capsys.readouterr().out


async def test_the_deny_list_is_counted_and_moderation_is_asked_one_question(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    standin: OpenAIStandin,
    tmp_path: Path,
) -> None:
    (tmp_path / "deny.txt").write_text("# weapons\ngun\nknife\n")
    monkeypatch.setenv("IMGSVC_PROMPTS__DENY_FILE", "deny.txt")
    monkeypatch.setenv("IMGSVC_PROMPTS__MODERATION", "true")
    monkeypatch.setenv("OPENAI_API_KEY", standin.api_key)
    monkeypatch.setenv("OPENAI_BASE_URL", standin.base_url)
    assert await check(None, connect=True, callback_url=None) == 0
    output = capsys.readouterr().out
    assert "ok    prompts: deny-list deny.txt, patterns: 2" in output
    assert "ok    prompts: moderation answers, by omni-moderation-latest" in output
    assert len(standin.questions) == 1
    standin.fail_moderation("invalid_api_key")
    assert await check(None, connect=True, callback_url=None) == 1
    assert "FAIL  prompts: moderation answers" in capsys.readouterr().out


async def test_a_folder_storage_and_the_local_engine_can_be_tried(
    capsys: pytest.CaptureFixture[str], receiver: Receiver
) -> None:
    assert await check(None, connect=True, callback_url=receiver.url) == 0
    output = capsys.readouterr().out
    assert "ok    storage: put, get, presign, delete in output" in output
    assert "ok    callback: one test delivery: answered 200" in output
    assert (await receiver.next()).headers["webhook-id"]


async def test_bucket_and_image_api_are_really_tried(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    s3_server: S3Server,
    standin: OpenAIStandin,
) -> None:
    s3_server.create_bucket("checked")
    configure(
        monkeypatch, s3_server, OPENAI_API_KEY=standin.api_key, OPENAI_BASE_URL=standin.base_url
    )
    assert await check(None, connect=True, callback_url=None) == 0
    output = capsys.readouterr().out
    assert "ok    storage: put, get, presign, delete in checked" in output
    assert "ok    provider: openai answers, and has gpt-image-2" in output
    listed = s3_server.client.list_objects_v2(Bucket="checked")
    assert listed["KeyCount"] == 0


async def test_what_does_not_answer_is_said_in_plain_words_and_without_secrets(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    s3_server: S3Server,
    standin: OpenAIStandin,
    receiver: Receiver,
) -> None:
    receiver.answer_with(reply(404))
    configure(
        monkeypatch,
        s3_server,
        COS_SECRET_ACCESS_KEY="wrong-secret-canary",
        OPENAI_API_KEY="sk-wrong-key-canary",
        OPENAI_BASE_URL=standin.base_url,
    )
    assert await check(None, connect=True, callback_url=receiver.url) == 1
    captured = capsys.readouterr()
    for line in ("FAIL  storage: ", "FAIL  provider: ", "FAIL  callback: one test delivery"):
        assert line in captured.out
    assert "StorageAccessDenied" in captured.out
    assert "ProviderKeyRejected" in captured.out
    assert "canary" not in captured.out + captured.err


async def test_a_receiver_can_be_tried_alone(
    capsys: pytest.CaptureFixture[str], receiver: Receiver
) -> None:
    assert await check(None, connect=False, callback_url=receiver.url) == 0
    assert "callback: one test delivery: answered 200" in capsys.readouterr().out
    assert (await receiver.next()).json == {"event": "imgsvc_check"}


async def test_a_callback_address_that_may_not_be_called_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await check(None, connect=True, callback_url="http://10.0.0.1/x") == 1
    assert "ForbiddenUrl" in capsys.readouterr().out


async def test_every_image_api_is_tried(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with automatic1111_standin(auth=False) as there, automatic1111_standin(api=False) as off:
        file = toml(
            f"""
            [[providers]]
            kind = "automatic1111"
            name = "there"
            base_url = "{there.url}"
            models = ["sd_xl_base_1.0", "v1-5-inpainting"]
            [[providers]]
            kind = "automatic1111"
            name = "off"
            base_url = "{off.url}"
            models = ["sd_xl_base_1.0"]
            """,
            str(tmp_path / "imgsvc.toml"),
        )
        assert await check(file, connect=True, callback_url=None) == 1
    output = capsys.readouterr().out
    assert "ok    provider: there, models sd_xl_base_1.0, v1-5-inpainting" in output
    assert "ok    provider: there answers, and has sd_xl_base_1.0" in output
    assert "FAIL  provider: off answers, and has sd_xl_base_1.0: ProviderModelNotFound" in output
    assert "--api" in output
