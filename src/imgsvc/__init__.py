"""imgsvc: asynchronous image editing for agents and workflows."""

__version__ = "0.1.0"
