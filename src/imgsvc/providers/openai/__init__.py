"""Image APIs that speak OpenAI's wire format."""

from imgsvc.providers.openai.config import OpenAIConfig, OpenAIEntry
from imgsvc.providers.openai.provider import OpenAIProvider, open_openai

__all__ = ["OpenAIConfig", "OpenAIEntry", "OpenAIProvider", "open_openai"]
