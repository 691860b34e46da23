"""What the service does by itself: jobs, callbacks, upkeep."""

import asyncio
from datetime import timedelta

from imgsvc.app.resources import Resources
from imgsvc.callbacks import CallbackSender
from imgsvc.jobs import (
    BatchEditor,
    CallbackDeliverer,
    ImageEditor,
    ImageFetcher,
    ItemEditor,
    JobRunner,
    ManifestStore,
    ProgressPosts,
    RunLimits,
    Upkeep,
)


async def run_jobs(resources: Resources) -> None:
    """Run workers and deliveries until cancelled."""
    settings = resources.settings
    runner = JobRunner(
        backend=resources.backend,
        blobs=resources.blobs,
        images=_image_editor(resources),
        batches=_batch_editor(resources),
        freezer=resources.freezer,
        thumbnailer=resources.thumbnailer,
        config=settings.workers,
        budgets=settings.budgets,
        clients=resources.clients,
    )
    deliverer = CallbackDeliverer(
        backend=resources.backend,
        blobs=resources.blobs,
        sender=CallbackSender(resources.session, settings.callbacks, proxy=resources.egress.proxy),
        schedule=settings.callbacks.schedule,
        clients=resources.clients,
    )
    limits = RunLimits(
        workers=settings.workers.count,
        batches=settings.workers.batches,
        callbacks=settings.callbacks.concurrency,
        callbacks_per_host=settings.callbacks.per_host,
        of_client=resources.clients.max_running_jobs,
    )
    await resources.backend.run(runner.process, deliverer.deliver, limits)


async def tidy_up(resources: Resources) -> None:
    """Tidy up until cancelled."""
    config = resources.settings.backend
    upkeep = Upkeep(
        backend=resources.backend,
        blobs=resources.blobs,
        spool=resources.spool,
        retention=timedelta(seconds=config.retention),
        audit_retention=timedelta(seconds=config.audit_retention),
    )
    await upkeep.run()


def _image_editor(resources: Resources) -> ImageEditor:
    settings = resources.settings
    fetcher = ImageFetcher(
        session=resources.session,
        policy=resources.egress,
        config=settings.image_url,
        max_bytes=settings.images.max_bytes,
    )
    return ImageEditor(
        gate=resources.gate,
        fetcher=fetcher,
        router=resources.router,
        blobs=resources.blobs,
        storage=resources.storage,
        buckets=settings.storage,
    )


def _batch_editor(resources: Resources) -> BatchEditor:
    settings, items = resources.settings, resources.backend.items
    return BatchEditor(
        items=items,
        selector=resources.selector,
        editor=ItemEditor(
            gate=resources.gate,
            router=resources.router,
            blobs=resources.blobs,
            storage=resources.storage,
            buckets=settings.storage,
            timeout=settings.workers.job_timeout,
            max_attempts=settings.workers.max_attempts,
        ),
        manifests=ManifestStore(items=items, blobs=resources.blobs, storage=resources.storage),
        posts=ProgressPosts(
            sender=resources.progress, interval=settings.callbacks.progress_interval
        ),
        slots=asyncio.Semaphore(settings.workers.count),
    )
