"""What a batch would do: its objects are looked at, and nothing is kept."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from aiohttp import web

from imgsvc.errors import StorageUnreachable, TooManyDryRuns
from imgsvc.jobs import Selector
from imgsvc.jobs.items import Found
from imgsvc.jobs.manifest import shown
from imgsvc.jobs.models import BatchSpec
from imgsvc.jobs.selection import buckets_of
from imgsvc.providers import LOCAL, Catalogue
from imgsvc.providers.pricing import at_most, in_usd
from imgsvc.web.answers import json_response
from imgsvc.web.auth.principal import PRINCIPAL
from imgsvc.web.batch_schemas import DryRun
from imgsvc.web.readiness import Readiness

AT_ONCE = 4
"""Dry runs that go on at the same time: each keeps the storage busy."""

AT_ONCE_OF_CLIENT = AT_ONCE // 2
"""Dry runs of one client that go on at the same time, if callers have to prove who they are."""

TIME_LIMIT = 30.0
"""Seconds after which the answer tells what was found by then."""

FIRST_ANSWER = 15.0
"""Seconds that the storage gets for the first page: a batch would try for longer."""

CALLER_CHECK = 1.0
"""Seconds between two looks whether the caller still waits: aiohttp does not tell."""

FIRST = 20
"""Keys, and lines about trouble, that the answer has."""


@dataclass(slots=True)
class _Tally:
    """What has been found so far."""

    images: int = 0
    skipped: int = 0
    failed: int = 0
    size: int = 0  # bytes
    first_keys: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, found: Found) -> None:
        if found.error is not None:
            self.failed += 1
            if len(self.errors) < FIRST:
                self.errors.append(f"{shown(found.key)}: {found.error}")
        elif found.may_be_image:
            self.images += 1
            self.size += found.size
            if len(self.first_keys) < FIRST:
                self.first_keys.append(shown(found.key))
        else:
            self.skipped += 1


@dataclass(kw_only=True, slots=True)
class DryRuns:
    """Looks for what batches would do, for a few callers at a time."""

    selector: Selector
    catalogue: Catalogue
    readiness: Readiness
    of_client: int | None = None  # dry runs of one at a time; None: all of them
    _running: Counter[str] = field(default_factory=Counter)  # by client

    async def answer(
        self, request: web.Request, spec: BatchSpec, keys: Sequence[str] | None
    ) -> web.Response:
        """Answer with what would be done; stop when the caller has gone.

        Raises TooManyDryRuns, StorageError, or ShuttingDown when the server drains.
        """
        client, of_client = request[PRINCIPAL].client, self.of_client
        is_greedy = of_client is not None and self._running[client] >= of_client
        if is_greedy or self._running.total() >= AT_ONCE:
            raise TooManyDryRuns
        self._running[client] += 1
        try:
            tally = _Tally()
            is_complete = await self.readiness.unless_draining(
                self._look(request, spec, keys, tally)
            )
        finally:
            self._running[client] -= 1
            if not self._running[client]:
                del self._running[client]
        if not is_complete and keys is not None and not tally.images + tally.failed:
            raise _no_answer(TIME_LIMIT)
        return json_response(self._view(spec, tally, is_complete=is_complete))

    async def _look(
        self,
        request: web.Request,
        spec: BatchSpec,
        keys: Sequence[str] | None,
        tally: _Tally,
    ) -> bool:
        """Count until the end, the time limit, or the caller's leaving; return whether all."""
        looking = asyncio.create_task(self._count(spec, keys, tally), name="dry-run")
        try:
            async with asyncio.timeout(TIME_LIMIT):
                while request.transport is not None:
                    done, _ = await asyncio.wait({looking}, timeout=CALLER_CHECK)
                    if done:
                        looking.result()
                        return True
        except TimeoutError:
            pass
        finally:
            looking.cancel()
            await asyncio.wait({looking})
        return False

    async def _count(self, spec: BatchSpec, keys: Sequence[str] | None, tally: _Tally) -> None:
        if keys is None:
            await self._check_storage(spec)
        async with aclosing(self.selector.objects(spec, named=keys)) as objects:
            async for found in objects:
                tally.add(found)

    async def _check_storage(self, spec: BatchSpec) -> None:
        """Raise StorageError unless the storage lists the objects."""
        bucket = buckets_of(spec, self.selector.config).input
        try:
            async with asyncio.timeout(FIRST_ANSWER):
                async for _ in self.selector.storage.list(bucket, spec.input_prefix):
                    return
        except TimeoutError as exc:
            raise _no_answer(FIRST_ANSWER) from exc

    def _view(self, spec: BatchSpec, tally: _Tally, *, is_complete: bool) -> dict[str, object]:
        each = self._cost_of_one(spec)
        note = f"Not all objects were looked at: {TIME_LIMIT:.0f} seconds did not suffice."
        return DryRun(
            dry_run=True,
            complete=is_complete,
            note=None if is_complete else note,
            images=tally.images,
            skipped=tally.skipped,
            failed=tally.failed,
            bytes=tally.size,
            first_keys=tally.first_keys,
            errors=tally.errors,
            estimated_cost_usd=None if each is None else in_usd(each * tally.images),
        ).model_dump(exclude_none=True)

    def _cost_of_one(self, spec: BatchSpec) -> int | None:
        """Return what one call costs at most, in nano-dollars; None if that is not known."""
        if self.catalogue.asked_for(spec.options, has_mask=False) == LOCAL:
            return 0
        asked, *_ = self.catalogue.choices(spec.options, has_mask=False)
        return at_most(asked.model, spec.options, prompt=spec.prompt)


def _no_answer(seconds: float) -> StorageUnreachable:
    return StorageUnreachable(
        f"The storage gave no answer within {seconds:.0f} seconds. Try again; if it stays so, the"
        " operator has to check the endpoint and the network."
    )
