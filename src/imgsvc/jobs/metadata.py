"""What is kept with each stored result, for whoever finds it in the bucket."""

from imgsvc.providers import EditResult
from imgsvc.storage.metadata import metadata_value


def result_metadata(
    job_id: str, result: EditResult, *, source_key: str | None = None
) -> dict[str, str]:
    """Return the metadata of a result; source_key is the input's, in a batch.

    Names come from the configuration and keys from the bucket, so all are made safe.
    """
    texts = {
        "job-id": job_id,
        "source-key": source_key,
        "provider": result.provider,
        "model": result.model,
        "fallback": "false" if result.fallback_reason is None else "true",
        "fallback-reason": result.fallback_reason,
    }
    return {name: metadata_value(text) for name, text in texts.items() if text}
