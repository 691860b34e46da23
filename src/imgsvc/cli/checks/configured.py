"""What can be said of a configuration without asking anybody."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

from imgsvc.cli.checks.report import Report
from imgsvc.config import Settings
from imgsvc.providers import Model, OpenAIEntry, read_patterns
from imgsvc.storage import S3Config


def check_configured(settings: Settings, report: Report) -> None:
    """Look at the parts of the configuration, but for who may use the server and what from."""
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
    _check_providers(settings, report)
    _check_prompts(settings, report)
    if not server.is_loopback and server.public_url is None:
        report.note("server.public_url is not set: links will name the listening address")
    if not settings.callbacks.signing_secrets:
        report.note("callbacks are not signed: set callbacks.signing_secrets")
    existing = next(path for path in _with_parents(settings.data_dir) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        report.fail(f"data_dir: {settings.data_dir} cannot be created or written")
    else:
        report.ok(f"data_dir: {settings.data_dir} can be written")


def _check_providers(settings: Settings, report: Report) -> None:
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


def _check_prompts(settings: Settings, report: Report) -> None:
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
