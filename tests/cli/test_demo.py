"""The demo as a newcomer runs it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cli.commands import Command
from standins.openai import openai_standin
from standins.processes import is_alive


def demo(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imgsvc", "demo", *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_runs_all_three_tools_and_shows_what_comes_back(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in (
        "POST /process-image-async-b64",
        "POST /process-image-async",
        "POST /batch-process-images",
        "202",
        '"result_image_base64": "',
        '"result_url": "http://127.0.0.1:',
        '"total_files": 3',
    ):
        assert part in done.stdout
    output = tmp_path / "demo-output"
    with Image.open(output / "before.jpg") as before, Image.open(output / "after.png") as after:
        assert before.size == after.size
    assert str(output / "after.png") in done.stdout
    assert list(tmp_path.glob("imgsvc-demo-*")) == []


@pytest.mark.slow
def test_the_demo_does_not_take_over_what_is_configured_here(tmp_path: Path) -> None:
    (tmp_path / "imgsvc.toml").write_text('[server]\nhost = "192.0.2.1"\n')
    done = demo(tmp_path, COS_ENDPOINT="https://s3.example.com", IMGSVC_WORKERS__COUNT="0")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_with_a_key_the_demo_tells_the_cost_and_asks_first(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    done = command("demo")
    assert done.code == 1
    assert "USD" in done.out
    assert "--yes" in done.err
    assert not (tmp_path / "demo-output").exists()


@pytest.mark.slow
async def test_the_demo_edits_with_the_model_and_quality_whose_price_it_tells(
    tmp_path: Path,
) -> None:
    async with openai_standin() as standin:
        done = await asyncio.to_thread(
            demo,
            tmp_path,
            "--yes",
            OPENAI_API_KEY=standin.api_key,
            OPENAI_BASE_URL=standin.base_url,
            OPENAI_IMAGE_MODEL="gpt-image-2.6-sunburst",
            IMGSVC_OPENAI__QUALITY="high",
        )
        sent = {(call.fields["model"], call.fields["quality"]) for call in standin.calls}
    assert done.returncode == 0, done.stdout + done.stderr
    assert sent == {("gpt-image-2", "medium")}
    assert "5 edits with gpt-image-2 at quality medium" in done.stdout


@pytest.mark.slow
async def test_a_demo_whose_image_api_refuses_fails_and_names_the_reason(tmp_path: Path) -> None:
    async with openai_standin() as standin:
        standin.fail_always("billing_not_active")
        done = await asyncio.to_thread(
            demo,
            tmp_path,
            "--yes",
            OPENAI_API_KEY=standin.api_key,
            OPENAI_BASE_URL=standin.base_url,
        )
    assert done.returncode == 1
    assert "provider_out_of_credit" in done.stderr


@pytest.mark.slow
def test_a_demo_that_fails_says_why_and_ends_with_an_error(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "demo-output").write_text("in the way")
    done = command("demo")
    assert done.code == 1
    assert "demo-output" in done.err


@pytest.mark.slow
def test_the_server_of_a_kept_demo_goes_on(tmp_path: Path) -> None:
    done = demo(tmp_path, "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    pid = int(done.stdout.split("(pid ")[1].split(")")[0])
    try:
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGTERM)
