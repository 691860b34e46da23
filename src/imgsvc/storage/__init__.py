"""Buckets of objects: S3 and its relatives, or a folder of this machine."""

from typing import Annotated

from pydantic import Field

from imgsvc.storage.base import ObjectInfo, ObjectStat, Storage
from imgsvc.storage.filesystem import FilesystemConfig, FilesystemStorage
from imgsvc.storage.keys import BatchKeys, result_key
from imgsvc.storage.s3_config import S3Config

StorageConfig = Annotated[S3Config | FilesystemConfig, Field(discriminator="kind")]

__all__ = [
    "BatchKeys",
    "FilesystemConfig",
    "FilesystemStorage",
    "ObjectInfo",
    "ObjectStat",
    "S3Config",
    "Storage",
    "StorageConfig",
    "result_key",
]
