"""Which objects a batch takes: those below a prefix that its request selects, or those it names.

They come one after the other, in the order of their keys, so that a batch goes on behind the
last one that it knows, and memory holds a few of them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from imgsvc.errors import (
    BucketNotAllowed,
    ObjectNotFound,
    ObjectTooLarge,
    PayloadLost,
    StorageError,
    StorageUnreachable,
    describe,
)
from imgsvc.jobs.blobs import BlobFolder
from imgsvc.jobs.globs import Globs
from imgsvc.jobs.items import Found
from imgsvc.jobs.manifest import looks_like_image
from imgsvc.jobs.models import BatchSpec
from imgsvc.storage import Storage, StorageConfig
from imgsvc.storage.keys import is_result

AT_ONCE = 16
"""Named objects that are asked for at the same time."""

_LINES = 500
"""Keys that are read from a file at once."""

_QUICK = 20_000
"""Characters of patterns times those of a path that take a few milliseconds at worst."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """Where a batch reads and where it writes."""

    input: str
    output: str


def buckets_of(spec: BatchSpec, config: StorageConfig) -> Buckets:
    """Return the buckets of a batch. Raises BucketNotAllowed, also for one no longer allowed."""
    buckets = Buckets(
        input=spec.input_bucket or config.input_bucket,
        output=spec.output_bucket or config.output_bucket,
    )
    allowed = {config.input_bucket, config.output_bucket, *config.allow_buckets}
    for name in (buckets.input, buckets.output):
        if name not in allowed:
            raise BucketNotAllowed(
                f"This server does not use the bucket {name!r}. An operator can name it in"
                " `storage.allow_buckets`."
            )
    return buckets


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """Finds the objects of batches.

    One that is too large is found with the reason why it fails, so nobody downloads it.
    A named object that cannot be had is found with the reason, unless it is that the storage
    is away: ten thousand of them would be waited for one after the other.
    """

    storage: Storage
    config: StorageConfig
    blobs: BlobFolder
    max_bytes: int  # of an image

    async def objects(
        self,
        spec: BatchSpec,
        *,
        named: Sequence[str] | None = None,
        after: str | None = None,
        images: int = 0,
    ) -> AsyncGenerator[Found]:
        """Yield what a batch takes, behind the key `after`, by when it had so many images.

        The keys may be given as `named`, sorted, in place of the file of `spec.keys`. Raises
        StorageError, PayloadLost if that file is gone, or BucketNotAllowed.
        """
        if named is not None:
            found = self._named(spec, _listed(named), after)
        elif spec.keys is not None:
            found = self._named(spec, key_lines(self.blobs.path(spec.keys)), after)
        else:
            found = self._below_prefix(spec, after)
        async with aclosing(found):
            if images == spec.limit:
                return
            async for each in found:
                yield each
                images += each.may_be_image
                if images == spec.limit:
                    return

    async def _below_prefix(self, spec: BatchSpec, after: str | None) -> AsyncGenerator[Found]:
        buckets = buckets_of(spec, self.config)
        # What this and earlier jobs have put there is no input, whatever their output prefix.
        one_bucket = buckets.input == buckets.output
        patterns = await asyncio.to_thread(_Patterns, spec)
        async for info in self.storage.list(buckets.input, spec.input_prefix, after=after):
            if info.key.endswith("/"):
                continue  # a folder marker
            if one_bucket and is_result(info.key):
                continue
            if spec.since is not None and info.modified < spec.since:
                continue
            if not await patterns.take(info.key.removeprefix(spec.input_prefix)):
                continue
            yield self._found(info.key, info.size, info.modified)

    async def _named(
        self, spec: BatchSpec, keys: AsyncGenerator[str], after: str | None
    ) -> AsyncGenerator[Found]:
        """Yield the objects with these keys in their order, those that are not there too."""
        bucket = buckets_of(spec, self.config).input
        asked: deque[asyncio.Task[Found]] = deque()
        try:
            async with aclosing(keys):
                async for key in keys:
                    if after is not None and key <= after:
                        continue
                    asked.append(asyncio.create_task(self._look_up(bucket, key), name="look-up"))
                    if len(asked) == AT_ONCE:
                        yield await asked.popleft()
            while asked:
                yield await asked.popleft()
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _look_up(self, bucket: str, key: str) -> Found:
        try:
            stat = await self.storage.stat(bucket, key)
            if stat is None:
                raise ObjectNotFound
        except StorageUnreachable:
            raise
        except StorageError as exc:
            # It is no less an item of the batch: one that has failed.
            now = datetime.now(UTC)
            return Found(key=key, size=0, modified=now, may_be_image=True, error=describe(exc))
        return self._found(key, stat.size, stat.modified)

    def _found(self, key: str, size: int, modified: datetime) -> Found:
        may_be_image = looks_like_image(key) is not False
        is_too_large = may_be_image and size > self.max_bytes
        return Found(
            key=key,
            size=size,
            modified=modified,
            may_be_image=may_be_image,
            error=describe(ObjectTooLarge()) if is_too_large else None,
        )


class _Patterns:
    """The patterns of a batch, compiled."""

    def __init__(self, spec: BatchSpec) -> None:
        self._include = Globs(spec.include) if spec.include else None
        self._exclude = Globs(spec.exclude) if spec.exclude else None
        self._size = sum(map(len, spec.include + spec.exclude))
        self._work = 0  # since others had a turn, in the unit of _QUICK

    async def take(self, path: str) -> bool:
        """Tell whether a path is taken."""
        work = self._size * len(path)
        if work > _QUICK:
            return await asyncio.to_thread(self._takes, path)
        self._work += work
        if self._work > _QUICK:
            self._work = work
            await asyncio.sleep(0)  # a page of the listing comes without one
        return self._takes(path)

    def _takes(self, path: str) -> bool:
        if self._include is not None and not self._include.match(path):
            return False
        return self._exclude is None or not self._exclude.match(path)


async def _listed(keys: Sequence[str]) -> AsyncGenerator[str]:
    for key in keys:
        yield key


async def key_lines(path: Path) -> AsyncGenerator[str]:
    """Yield the keys that a batch names, reading some at a time. Raises PayloadLost."""
    try:
        file = await asyncio.to_thread(path.open, encoding="utf-8", newline="\n")
    except FileNotFoundError as exc:
        raise PayloadLost from exc
    with file:
        while lines := await asyncio.to_thread(lambda: list(islice(file, _LINES))):
            for line in lines:
                yield line.removesuffix("\n")
