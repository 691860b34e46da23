"""Image APIs that speak OpenAI's wire format.

The rest of the package needs the SDK, which takes a second to import: so it is imported
when it is used.
"""

from imgsvc.providers.openai.config import OpenAIConfig, OpenAIEntry

__all__ = ["OpenAIConfig", "OpenAIEntry"]
