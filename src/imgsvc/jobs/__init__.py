"""Jobs: their record, the workers that do them, and the two kinds of work."""

from imgsvc.jobs.backend import BackendStats, JobBackend
from imgsvc.jobs.batch import BatchEditor
from imgsvc.jobs.blobs import BlobFolder, open_blobs
from imgsvc.jobs.edit import ImageEditor
from imgsvc.jobs.fetch import FetchConfig, ImageFetcher
from imgsvc.jobs.memory import MemoryConfig
from imgsvc.jobs.worker import JobRunner, WorkersConfig

BackendConfig = MemoryConfig
"""The configuration of any of the known records of jobs."""

__all__ = [
    "BackendConfig",
    "BackendStats",
    "BatchEditor",
    "BlobFolder",
    "FetchConfig",
    "ImageEditor",
    "ImageFetcher",
    "JobBackend",
    "JobRunner",
    "WorkersConfig",
    "open_blobs",
]
