"""Whether a client may do what a request asks for, by the rules it is held to.

They are asked when a job is accepted, and when it is done again. Each raises
NotAllowedForClient with the name of the setting.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from imgsvc.callbacks import check_url, plain_host
from imgsvc.errors import NotAllowedForClient
from imgsvc.jobs.clients import ClientConfig
from imgsvc.jobs.models import DEFAULT_PRIORITY, BatchSpec
from imgsvc.jobs.selection import buckets_of
from imgsvc.providers import Catalogue, EditOptions
from imgsvc.storage import StorageConfig


def check_callback(limits: ClientConfig, url: str) -> None:
    """Raise unless the host of a URL may be named, as the caller wrote it but for its form."""
    hosts = limits.callback_hosts
    if hosts is not None and (host := plain_host(check_url(url))) not in hosts:
        raise NotAllowedForClient("callback_hosts", hosts, f"the host {host}")


def checked_priority(limits: ClientConfig, asked: int | None) -> int:
    """Return the priority of a job: what was asked for, or the usual one as far as it may."""
    if asked is None:
        return limits.held_to_priority(DEFAULT_PRIORITY)
    if limits.max_priority is not None and asked > limits.max_priority:
        raise NotAllowedForClient("max_priority", [limits.max_priority], f"priority {asked}")
    return asked


def checked_options(
    limits: ClientConfig, options: EditOptions, catalogue: Catalogue, *, has_mask: bool
) -> EditOptions:
    """Return the options with the models that may edit; raise unless one of them can.

    They stay with the job: who steps in when an image API fails is one of them, too.
    """
    models = limits.models
    held = replace(options, models=None if models is None else tuple(models))
    if models is not None and not catalogue.allows(held, has_mask=has_mask):
        what = "the usual model" if options.model is None else f"the model {options.model}"
        raise NotAllowedForClient("models", models, what)
    return held


def check_places(
    limits: ClientConfig, spec: BatchSpec, storage: StorageConfig, inputs: Iterable[str]
) -> None:
    """Raise unless a batch may write its folder, and read these: its folder, or its keys.

    Raises BucketNotAllowed for a bucket that nobody may use, or not any longer.
    """
    buckets = buckets_of(spec, storage)
    if limits.buckets is None:
        return
    # The places end with a slash, and no path has `.` or `..` in it: `shop/` covers neither
    # `shop-secret/x` nor `shop/../x`.
    places = tuple(limits.buckets)
    prefix = spec.input_prefix
    written = (
        f"{buckets.output}/{spec.output_prefix}",
        _field("output_prefix", spec.output_prefix, storage.output_prefix),
    )
    read = (
        (
            f"{buckets.input}/{path}",
            _field("input_prefix", path, storage.input_prefix) if path == prefix else "keys",
        )
        for path in inputs
    )
    for place, field in chain([written], read):
        if not place.startswith(places):
            raise NotAllowedForClient("buckets", places, f"{place[:200]} ({field})")


def _field(name: str, prefix: str, configured: str) -> str:
    """Return a field of a request, and what it is where it was perhaps not named."""
    return f"{name}, which is {prefix} where none is named" if prefix == configured else name
