"""Stable Diffusion web UIs with AUTOMATIC1111's HTTP API: itself, Forge, SD.Next."""

from imgsvc.providers.automatic1111.config import Automatic1111Config
from imgsvc.providers.automatic1111.provider import Automatic1111Provider, open_automatic1111

__all__ = ["Automatic1111Config", "Automatic1111Provider", "open_automatic1111"]
