"""`imgsvc check`: whether the configuration is right, and what it names answers."""

import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import aiohttp

from imgsvc.callbacks import (
    CallbackSender,
    Delivery,
    Verdict,
    check_url,
    open_session,
    rewrite,
)
from imgsvc.config import Settings, load_settings, secret_values
from imgsvc.errors import ConfigurationError, ImgsvcError, StorageError, describe
from imgsvc.imaging.pool import open_image_pool
from imgsvc.logs import LogsConfig, configure_logging
from imgsvc.providers import (
    Model,
    OpenAIEntry,
    open_prompt_filter,
    open_provider,
    read_patterns,
)
from imgsvc.storage import FilesystemStorage, S3Config, Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROBE = b"imgsvc check: this object may be deleted"


@dataclass(slots=True)
class _Report:
    """Prints a line for every check and counts those that failed."""

    failed: int = 0

    def ok(self, what: str) -> None:
        print(f"ok    {what}")

    def note(self, what: str) -> None:
        print(f"note  {what}")

    def fail(self, what: str) -> None:
        self.failed += 1
        print(f"FAIL  {what}")

    @contextmanager
    def trying(self, what: str) -> "Iterator[None]":
        """Report the block as done, or what it raised."""
        try:
            yield
        except ImgsvcError as exc:
            self.fail(f"{what}: {describe(exc)}")
        else:
            self.ok(what)


async def check(config: Path | None, *, connect: bool, callback_url: str | None) -> int:
    """Print what is right and what is wrong; return 0 if nothing is wrong, else 1.

    With `connect`, try the image processes, the storage, the image APIs and moderation; with
    `callback_url`, the receiver there.
    """
    report = _Report()
    try:
        settings = load_settings(config)
    except ConfigurationError as exc:
        for problem in exc.problems:
            report.fail(problem)
        return 1
    # Events would only clutter the report, which says the same in words.
    configure_logging(LogsConfig(level="error"), secrets=secret_values(settings), stream=sys.stderr)
    _check_plain(settings, report)
    if connect:
        await _check_storage(settings, report)
        await _check_providers(settings, report)
        await _check_moderation(settings, report)
    if callback_url is not None:
        await _check_callback(settings, callback_url, report)
    return 1 if report.failed else 0


def _check_plain(settings: Settings, report: _Report) -> None:
    server, storage = settings.server, settings.storage
    file = (settings.layers and settings.layers.file) or "no file"
    report.ok(f"configuration: read from the environment and {file}")
    report.ok(
        f"server: will listen on {server.host}:{server.port}, {settings.workers.count} workers"
    )
    if isinstance(storage, S3Config):
        report.ok(f"storage: s3 at {storage.endpoint}, results in bucket {storage.output_bucket}")
    else:
        report.ok("storage: filesystem; results are served under /files/ by this server")
    if settings.secrets.manager is not None:
        report.ok(f"secrets: {settings.secrets.secret} was read, by {settings.secrets.manager}")
    _check_plain_providers(settings, report)
    _check_plain_prompts(settings, report)
    if not server.is_loopback and server.public_url is None:
        report.note("server.public_url is not set: links will name the listening address")
    _check_plain_auth(settings, report)
    if not settings.callbacks.signing_secrets:
        report.note("callbacks are not signed: set callbacks.signing_secrets")
    existing = next(path for path in _with_parents(settings.data_dir) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        report.fail(f"data_dir: {settings.data_dir} cannot be created or written")
    else:
        report.ok(f"data_dir: {settings.data_dir} can be written")


def _check_plain_auth(settings: Settings, report: _Report) -> None:
    if settings.auth.is_on:
        report.ok(f"auth: {settings.auth.mode}")
        return
    try:
        settings.check_authentication()
    except ConfigurationError as exc:
        report.fail(exc.message)
    else:
        if not settings.server.is_loopback:
            report.note("auth: none, so anybody who can reach the port can use the server")


def _check_plain_providers(settings: Settings, report: _Report) -> None:
    if not settings.image_apis:
        report.note(
            "provider: only the local engine; set OPENAI_API_KEY, or add [[providers]], to edit"
            " for real"
        )
    for api in settings.image_apis:
        report.ok(f"provider: {api.name}, models {', '.join(api.offered)}")
        if isinstance(api, OpenAIEntry) and api.base_url is None:
            report.note(f"provider: {api.name} has no base_url, so it asks OpenAI itself")
    today = datetime.now(UTC).date()
    for name, model in settings.ending_models(today):
        report.note(f"provider: {name} {_takes_away(model, today)}")
    budgets = settings.budgets
    limits = {
        "a job": budgets.job_usd,
        "a client and day": budgets.client_day_usd,
        "a day": budgets.day_usd,
    }
    if given := [f"{usd:g} USD {of}" for of, usd in limits.items() if usd is not None]:
        report.ok(f"budgets: {', '.join(given)}; when spent: {budgets.when_spent}")
    for name, model in settings.unpriced_models:
        report.note(
            f"budgets: what {model.name} of {name} costs is not known, so it is never called; set"
            " `price` or `usd_per_image` of the model"
        )


def _takes_away(model: Model, today: date) -> str:
    verb = "took" if model.ends is not None and model.ends < today else "takes"
    return f"{verb} the model {model.name} away on {model.ends}"


def _check_plain_prompts(settings: Settings, report: _Report) -> None:
    prompts = settings.prompts
    if prompts.deny_file is not None:
        count = len(read_patterns(prompts.deny_file))
        report.ok(f"prompts: deny-list {prompts.deny_file}, patterns: {count}")
    if prompts.moderation:
        report.ok(
            f"prompts: moderation by {prompts.moderation_model}; if it cannot be asked,"
            f" {prompts.moderation_failure}"
        )


def _with_parents(folder: Path) -> list[Path]:
    absolute = folder.absolute()
    return [absolute, *absolute.parents]


async def _check_storage(settings: Settings, report: _Report) -> None:
    config = settings.storage
    bucket, key = config.output_bucket, f"{config.output_prefix}imgsvc-check-{uuid.uuid4().hex}.txt"
    try:
        async with _storage(settings) as storage:
            with report.trying(f"storage: listing {config.input_bucket}/{config.input_prefix}"):
                async for _ in storage.list(config.input_bucket, config.input_prefix):
                    break
            with report.trying(f"storage: put, get, presign, delete in {bucket}"):
                await storage.put(bucket, key, _PROBE, content_type="text/plain")
                try:
                    if await storage.get(bucket, key, max_bytes=1024) != _PROBE:
                        raise StorageError("What was read is not what was written.")
                    await _follow(storage, await storage.presign(bucket, key, expires_in=60), key)
                finally:
                    await storage.delete(bucket, key)
    except ImgsvcError as exc:
        report.fail(f"storage: {describe(exc)}")


@asynccontextmanager
async def _storage(settings: Settings) -> AsyncIterator[Storage]:
    base_url = settings.server.public_url or "http://127.0.0.1"
    config = settings.storage
    if isinstance(config, S3Config):  # who checks wants to know what is wrong now
        config = config.model_copy(update={"retry_seconds": 0})
    async with config.open(data_dir=settings.data_dir, base_url=base_url) as storage:
        yield storage


async def _follow(storage: Storage, link: str, key: str) -> None:
    """Raise StorageError unless the signed link leads to the probe."""
    if isinstance(storage, FilesystemStorage):
        # Served by the server itself, which need not run now: check the signature instead.
        parts = urlsplit(link)
        query = parse_qs(parts.query)
        bucket = parts.path.removeprefix("/files/").split("/")[0]
        await storage.verify_link(
            bucket, key, expires=query["expires"][0], signature=query["signature"][0]
        )
        return
    timeout = aiohttp.ClientTimeout(total=30)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(link) as answer:
            if answer.status != 200 or await answer.read() != _PROBE:
                raise StorageError(f"The signed link answered with status {answer.status}.")
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise StorageError("The signed link could not be fetched.") from exc


async def _check_providers(settings: Settings, report: _Report) -> None:
    with report.trying("images: a process starts"):
        async with open_image_pool(settings.images, processes=1) as pool:
            for api in settings.image_apis:
                failed = report.failed
                with report.trying(
                    f"provider: {api.name} answers, and has {next(iter(api.offered))}"
                ):
                    async with open_provider(api, pool) as provider:
                        await provider.probe()
                if report.failed > failed and api.base_url is not None:
                    hint = "; it often ends in /v1" if api.kind == "openai" else ""
                    report.note(f"the URL of {api.name} is {api.base_url}{hint}")


async def _check_moderation(settings: Settings, report: _Report) -> None:
    prompts = settings.prompts
    if prompts.moderation:
        with report.trying(f"prompts: moderation answers, by {prompts.moderation_model}"):
            async with open_prompt_filter(prompts, settings.openai) as prompt_filter:
                await prompt_filter.probe()


async def _check_callback(settings: Settings, url: str, report: _Report) -> None:
    what = "callback: one test delivery"
    policy = settings.egress_policy(own_port=settings.server.port)
    try:
        target = rewrite(check_url(url), settings.callbacks.rewrite)
        policy.check(target)
    except ImgsvcError as exc:
        report.fail(f"{what}: {describe(exc)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body.json"
        body.write_bytes(b'{"event": "imgsvc_check"}')
        async with open_session(policy) as session:
            attempt = await CallbackSender(session, settings.callbacks).attempt(
                Delivery(
                    url=url,
                    webhook_id=f"msg_{uuid.uuid4().hex}",
                    request_id=uuid.uuid4().hex,
                    body=body,
                )
            )
    if attempt.verdict is Verdict.DELIVERED:
        report.ok(f"{what}: answered {attempt.status}")
    else:
        report.fail(f"{what}: {attempt.error or attempt.status}; a 2xx answer is needed")
