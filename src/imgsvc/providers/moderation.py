"""Moderation by the image API.

Source: https://platform.openai.com/docs/api-reference/moderations/create
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI
from pydantic import BaseModel, Field, ValidationError

from imgsvc.errors import ProviderBadAnswer
from imgsvc.providers.categories import category_names
from imgsvc.providers.openai import OpenAIConfig
from imgsvc.providers.openai.provider import mapped, open_client


class Moderation:
    """Asks one model about prompts, once each."""

    def __init__(self, client: AsyncOpenAI, model: str, timeout: float) -> None:
        self._client = client
        self._model = model
        self._timeout = timeout  # seconds

    async def judge(self, prompt: str) -> tuple[str, ...] | None:
        """Return the categories that the prompt is flagged for; None if it is not flagged.

        Raises ProviderError if that is not to be had.
        """
        with mapped(self._model):
            async with asyncio.timeout(self._timeout):
                # Raw, because the SDK renames categories, and passes on whatever is answered.
                answer = await self._client.moderations.with_raw_response.create(
                    model=self._model, input=prompt
                )
        try:
            judgements = _Answer.model_validate_json(answer.content).results
        except ValidationError as exc:
            raise ProviderBadAnswer("Moderation answered with something else.") from exc
        flagged = [judgement for judgement in judgements if judgement.flagged]
        if not flagged:
            return None
        return category_names(
            name for each in flagged for name, found in each.categories.items() if found
        )


class _Judgement(BaseModel):
    flagged: bool
    categories: dict[str, bool | None] = Field(default_factory=dict)


class _Answer(BaseModel):
    results: list[_Judgement] = Field(min_length=1)


@asynccontextmanager
async def open_moderation(
    config: OpenAIConfig,
    *,
    model: str,
    timeout: float,  # noqa: ASYNC109 - of each judgement
) -> AsyncIterator[Moderation]:
    """Yield it with one client for its whole life.

    Raises ProviderNotConfigured without a key.
    """
    async with open_client(config) as client:
        yield Moderation(client, model, timeout)
