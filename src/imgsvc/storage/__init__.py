"""Buckets of objects: S3 and its relatives, or a folder of this machine."""

from typing import Annotated

from pydantic import Field

from imgsvc.storage.base import ObjectInfo, Storage
from imgsvc.storage.filesystem import FilesystemConfig, FilesystemStorage
from imgsvc.storage.keys import BatchKeys, result_key
from imgsvc.storage.s3 import S3Config

StorageConfig = Annotated[S3Config | FilesystemConfig, Field(discriminator="kind")]

__all__ = [
    "BatchKeys",
    "FilesystemConfig",
    "FilesystemStorage",
    "ObjectInfo",
    "S3Config",
    "Storage",
    "StorageConfig",
    "result_key",
]
