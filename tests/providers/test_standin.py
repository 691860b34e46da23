import asyncio
import sys
from pathlib import Path

import pytest

from imgsvc.errors import ProviderRefusedImage
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers import OpenAIConfig
from imgsvc.providers.openai.provider import open_openai
from standins import openai as standin_module

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_stand_in_runs_as_a_program_and_prints_its_url(pool: ImagePool) -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(standin_module.__file__)),
        "--key=sk-demo",
        "--fail=invalid_image",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert program.stdout is not None
        base_url = (await program.stdout.readline()).decode().strip()
        config = OpenAIConfig.model_validate({"api_key": "sk-demo", "base_url": base_url})
        async with open_openai(config, pool) as provider:
            with pytest.raises(ProviderRefusedImage):
                await provider.probe()
    finally:
        program.terminate()
        assert await program.wait() == 0
