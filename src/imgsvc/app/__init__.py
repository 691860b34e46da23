"""Puts the service together: the only room that knows every other one."""

from imgsvc.app.service import Service, open_service

__all__ = ["Service", "open_service"]
