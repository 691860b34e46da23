"""Jobs: their record, the workers that do them, and the two kinds of work."""

from imgsvc.jobs.backend import BackendStats, JobBackend, RunLimits
from imgsvc.jobs.batch import BatchEditor
from imgsvc.jobs.batch_item import ItemEditor
from imgsvc.jobs.blobs import BlobFolder, open_blobs
from imgsvc.jobs.clients import ClientConfig, Clients, LimitsConfig
from imgsvc.jobs.control import JobControl
from imgsvc.jobs.data_folder import hold
from imgsvc.jobs.delivery import CallbackDeliverer
from imgsvc.jobs.edit import ImageEditor
from imgsvc.jobs.fetch import FetchConfig, ImageFetcher
from imgsvc.jobs.freezing import Freezer
from imgsvc.jobs.manifest_store import ManifestStore
from imgsvc.jobs.progress_posts import ProgressPosts
from imgsvc.jobs.selection import Selector
from imgsvc.jobs.spending import BudgetsConfig, JobAccount
from imgsvc.jobs.spool import Spool
from imgsvc.jobs.sqlite import SqliteConfig
from imgsvc.jobs.thumbnails import Thumbnailer
from imgsvc.jobs.upkeep import Upkeep
from imgsvc.jobs.worker import JobRunner, WorkersConfig

BackendConfig = SqliteConfig
"""The configuration of any of the known records of jobs."""

__all__ = [
    "BackendConfig",
    "BackendStats",
    "BatchEditor",
    "BlobFolder",
    "BudgetsConfig",
    "CallbackDeliverer",
    "ClientConfig",
    "Clients",
    "FetchConfig",
    "Freezer",
    "ImageEditor",
    "ImageFetcher",
    "ItemEditor",
    "JobAccount",
    "JobBackend",
    "JobControl",
    "JobRunner",
    "LimitsConfig",
    "ManifestStore",
    "ProgressPosts",
    "RunLimits",
    "Selector",
    "Spool",
    "Thumbnailer",
    "Upkeep",
    "WorkersConfig",
    "hold",
    "open_blobs",
]
