"""Whether what the configuration names answers."""

import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
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
from imgsvc.cli.checks.report import Report
from imgsvc.config import Settings
from imgsvc.errors import ConfigurationError, ImgsvcError, StorageError, describe
from imgsvc.imaging.pool import open_image_pool
from imgsvc.providers import open_prompt_filter, open_provider
from imgsvc.storage import FilesystemStorage, S3Config, Storage
from imgsvc.web.auth.tokens import open_token_verifier

_PROBE = b"imgsvc check: this object may be deleted"


async def check_connected(settings: Settings, report: Report) -> None:
    """Try the image processes, the storage, the image APIs, moderation and the token keys."""
    await _check_storage(settings, report)
    await _check_providers(settings, report)
    await _check_moderation(settings, report)
    await _check_token_keys(settings, report)


async def _check_storage(settings: Settings, report: Report) -> None:
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


async def _check_providers(settings: Settings, report: Report) -> None:
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


async def _check_moderation(settings: Settings, report: Report) -> None:
    prompts = settings.prompts
    if prompts.moderation:
        with report.trying(f"prompts: moderation answers, by {prompts.moderation_model}"):
            async with open_prompt_filter(prompts, settings.openai) as prompt_filter:
                await prompt_filter.probe()


async def _check_token_keys(settings: Settings, report: Report) -> None:
    if settings.auth.takes_tokens and settings.auth.jwt_jwks_url is not None:
        with report.trying("auth: the issuer's keys by auth.jwt_jwks_url"):
            async with open_token_verifier(settings.auth) as verifier:
                if verifier is not None and not await verifier.keys.count():
                    raise ConfigurationError(["there is no key that tokens can be checked with"])


async def check_callback(settings: Settings, url: str, report: Report) -> None:
    """Try to deliver a callback to this receiver."""
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
