"""Figures for Prometheus, read off the service whenever they are asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from imgsvc import __version__
from imgsvc.callbacks import PostOutcome, ProgressSender
from imgsvc.jobs import JobBackend, Spool
from imgsvc.providers import BreakerState, EditRouter
from imgsvc.providers.pricing import NANO
from imgsvc.secrets import Renewals

_LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


def make_registry(
    *,
    backend: JobBackend,
    spool: Spool,
    router: EditRouter,
    progress: ProgressSender,
    renewals: Renewals,
    refusals: Mapping[str, int],
) -> CollectorRegistry:
    """Return a registry with the figures of this service and of its process."""
    registry = CollectorRegistry()
    registry.register(
        _Service(
            backend=backend,
            spool=spool,
            router=router,
            progress=progress,
            renewals=renewals,
            refusals=refusals,
        )
    )
    ProcessCollector(registry=registry)
    return registry


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)  # the registry hashes it
class _Service(Collector):
    """Asks the service."""

    backend: JobBackend
    spool: Spool
    router: EditRouter
    progress: ProgressSender
    renewals: Renewals
    refusals: Mapping[str, int]  # by the code of the problem

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as they are now."""
        stats = self.backend.stats()
        yield InfoMetricFamily("imgsvc", "What runs here", value={"version": __version__})
        yield _by(
            "state",
            "imgsvc_jobs",
            "Jobs that wait for a worker, and jobs in work",
            {"queued": stats.queued, "running": stats.running},
        )
        yield _by(
            "state",
            "imgsvc_callbacks",
            "Callbacks still to be delivered, and callbacks given up",
            {"pending": stats.callbacks_pending, "dead": stats.callbacks_dead},
        )
        yield _posts(self.progress)
        yield _reads(self.renewals)
        yield _refused(self.refusals)
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
        yield _calls(self.router)
        yield _by(
            "provider",
            "imgsvc_provider_waiting",
            "Edits that wait for their turn at an image API",
            {name: limiter.waiting for name, limiter in self.router.limiters.items()},
        )
        yield _by(
            "provider",
            "imgsvc_provider_in_flight",
            "Edits that are in work at an image API",
            {name: limiter.in_flight for name, limiter in self.router.limiters.items()},
        )
        yield _costs(self.router)
        yield _tokens(self.router)
        yield _breakers(self.router)


def _posts(progress: ProgressSender) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "imgsvc_progress_posts",
        "Progress callbacks that have ended, by how",
        labels=["outcome"],
    )
    for outcome in PostOutcome:
        family.add_metric([outcome], progress.posts[outcome])
    return family


def _reads(renewals: Renewals) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "imgsvc_secrets_reads",
        "How often secrets were read again, by where they are kept and how that went",
        labels=["source", "outcome"],
    )
    for labels, count in renewals.reads.items():
        family.add_metric(labels, count)
    return family


def _refused(refusals: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "imgsvc_refused_requests",
        "Requests that were answered with 401, 403 or 429, by the code of the problem",
        labels=["code"],
    )
    for code, count in refusals.items():
        family.add_metric([code], count)
    return family


def _calls(router: EditRouter) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "imgsvc_provider_calls",
        "Calls of an image API that have ended, by how",
        labels=["provider", "outcome"],
    )
    for (provider, outcome), count in router.figures.calls.items():
        family.add_metric([provider, outcome], count)
    return family


def _costs(router: EditRouter) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "imgsvc_provider_cost_usd",
        "What calls of an image API have cost, as far as that is known, in US dollars",
        labels=["provider", "model"],
    )
    for labels, nano in router.figures.costs.items():
        family.add_metric(labels, nano / NANO)
    return family


def _tokens(router: EditRouter) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "imgsvc_provider_tokens",
        "Tokens that an image API has counted: of texts and images sent, and of output",
        labels=["provider", "model", "kind"],
    )
    for labels, count in router.figures.tokens.items():
        family.add_metric(labels, count)
    return family


def _breakers(router: EditRouter) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "imgsvc_breaker_state",
        "Whether an image API is asked for a model: 0 yes, 1 one call at a time, 2 no",
        labels=["provider", "model"],
    )
    for status in router.breakers.statuses():
        family.add_metric([status.provider, status.model], _LEVELS[status.state])
    return family


def _by(label: str, name: str, documentation: str, counts: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
