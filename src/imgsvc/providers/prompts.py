"""Which prompts are taken: the operator's deny-list, and the moderation of the image API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, field_validator

from imgsvc.errors import (
    ConfigurationError,
    ModerationUnavailable,
    PromptRejected,
    ProviderError,
)
from imgsvc.providers.deny_list import DenyList, read_patterns
from imgsvc.providers.openai import OpenAIConfig
from imgsvc.providers.renewing import is_key_rejected
from imgsvc.secrets import NO_RENEWALS, Renewals

if TYPE_CHECKING:
    from imgsvc.providers.moderation import Moderation

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class PromptsConfig(BaseModel):
    """Which prompts are refused before there is a job."""

    model_config = ConfigDict(extra="forbid")

    deny_file: Path | None = Field(
        None,
        description="File of regular expressions, one a line: a prompt that one is found in is"
        " refused. It is read again when it has changed.",
    )
    moderation: bool = Field(
        default=False,
        description="Ask the moderation of the image API about every prompt; needs its key.",
    )
    moderation_model: str = Field(
        "omni-moderation-latest", min_length=1, description="Model that judges the prompts."
    )
    moderation_timeout: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="Seconds that one judgement may take."
    )
    moderation_failure: Literal["allow", "refuse"] = Field(
        "allow",
        description="What becomes of a prompt if moderation cannot be asked: `allow` takes it,"
        " `refuse` answers 503.",
    )

    @field_validator("deny_file")
    @classmethod
    def _holds_patterns(cls, file: Path | None) -> Path | None:
        if file is not None:
            try:
                read_patterns(file)
            except ConfigurationError as exc:
                raise ValueError(exc.message) from exc
        return file


class PromptFilter:
    """Checks each prompt; safe to call from many tasks at once."""

    def __init__(
        self,
        config: PromptsConfig,
        deny_list: DenyList | None,
        moderation: "Moderation | None",
        renewals: Renewals = NO_RENEWALS,
    ) -> None:
        self._config = config
        self._renewals = renewals
        self.deny_list = deny_list
        self._moderation = moderation

    async def check(self, prompt: str) -> None:
        """Raise PromptRejected if the prompt is not taken.

        Raises ModerationUnavailable if that is not known and such prompts are refused.
        """
        if self.deny_list is not None:
            line = await asyncio.to_thread(self.deny_list.find, prompt)
            if line is not None:
                _log.info("prompt_rejected", source="deny_list", line=line)
                raise PromptRejected
        if self._moderation is not None:
            await self._moderate(self._moderation, prompt)

    async def probe(self) -> None:
        """Ask moderation one question, if it is on. Raises ProviderError."""
        if self._moderation is not None:
            await self._moderation.judge("Make it night")

    async def _moderate(self, moderation: "Moderation", prompt: str) -> None:
        try:
            categories = await self._renewals.retry(
                lambda: moderation.judge(prompt), is_key_rejected
            )
        except ProviderError as error:
            failure = self._config.moderation_failure
            _log.warning(
                "moderation_failed", error=error.kind, reason=error.message, effect=failure
            )
            if failure == "refuse":
                raise ModerationUnavailable from error
            return
        if categories is not None:
            _log.info("prompt_rejected", source="moderation", categories=categories)
            raise PromptRejected(categories)


@asynccontextmanager
async def open_prompt_filter(
    config: PromptsConfig, openai: OpenAIConfig, *, renewals: Renewals = NO_RENEWALS
) -> AsyncIterator[PromptFilter]:
    """Yield the filter; with nothing configured it takes every prompt.

    Raises ConfigurationError if the deny-list cannot be read, and ProviderNotConfigured
    for moderation without a key.
    """
    async with AsyncExitStack() as stack:
        deny_list = moderation = None
        if config.deny_file is not None:
            deny_list = await asyncio.to_thread(DenyList, config.deny_file)
        if config.moderation:
            from imgsvc.providers.moderation import (  # noqa: PLC0415 - takes a second
                open_moderation,
            )

            moderation = await stack.enter_async_context(
                open_moderation(
                    openai, model=config.moderation_model, timeout=config.moderation_timeout
                )
            )
        yield PromptFilter(config, deny_list, moderation, renewals)
