"""What handlers find in the application and in a request."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from imgsvc.jobs import Clients, JobBackend, JobControl, Spool
from imgsvc.providers import Breakers, Catalogue
from imgsvc.storage import Storage, StorageConfig
from imgsvc.web.auth.guard import Guard
from imgsvc.web.cursor import Cursors
from imgsvc.web.dry_run import DryRuns
from imgsvc.web.intake import Intake
from imgsvc.web.readiness import Readiness


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """All that the handlers need."""

    base_url: str  # without a slash at its end
    guard: Guard
    intake: Intake
    dry_runs: DryRuns
    readers: Counter[str] = field(default_factory=Counter)  # streams of events, by client
    backend: JobBackend
    control: JobControl
    clients: Clients
    storage: Storage
    buckets: StorageConfig
    catalogue: Catalogue
    breakers: Breakers
    cursors: Cursors
    readiness: Readiness
    spool: Spool
    metrics: CollectorRegistry
    configuration: Mapping[str, Any]  # in force, as JSON has it; without secrets


CONTEXT = web.AppKey("context", Context)
REQUEST_ID = web.RequestKey("request_id", str)
