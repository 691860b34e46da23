"""Figures for Prometheus, read off the service whenever they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from imgsvc import __version__
from imgsvc.jobs import JobBackend, Spool


def make_registry(backend: JobBackend, spool: Spool) -> CollectorRegistry:
    """Return a registry with the figures of this service and of its process."""
    registry = CollectorRegistry()
    registry.register(_Service(backend=backend, spool=spool))
    ProcessCollector(registry=registry)
    return registry


@dataclass(frozen=True, kw_only=True, slots=True)
class _Service(Collector):
    """Asks the service."""

    backend: JobBackend
    spool: Spool

    def collect(self) -> Iterator[GaugeMetricFamily | InfoMetricFamily]:
        """Yield the figures as they are now."""
        stats = self.backend.stats()
        yield InfoMetricFamily("imgsvc", "What runs here", value={"version": __version__})
        yield _by_state(
            "imgsvc_jobs",
            "Jobs that wait for a worker, and jobs in work",
            {"queued": stats.queued, "running": stats.running},
        )
        yield _by_state(
            "imgsvc_callbacks",
            "Callbacks still to be delivered, and callbacks given up",
            {"pending": stats.callbacks_pending, "dead": stats.callbacks_dead},
        )
        yield GaugeMetricFamily(
            "imgsvc_spool_bytes",
            "Bytes of disk that jobs and their record take up",
            value=self.spool.size,
        )
        yield GaugeMetricFamily(
            "imgsvc_spool_limit_bytes",
            "Bytes of disk past which new jobs are refused",
            value=self.spool.limit,
        )


def _by_state(name: str, documentation: str, counts: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    return family
