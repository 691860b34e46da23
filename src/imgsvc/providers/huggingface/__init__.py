"""Models on Hugging Face, by its inference providers or an endpoint of one's own.

The rest of the package needs the extra `huggingface`, so it is imported when it is used.
"""

from imgsvc.providers.huggingface.config import HuggingFaceConfig

__all__ = ["HuggingFaceConfig"]
