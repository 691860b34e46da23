"""The bodies of the three callbacks, exactly as they go over the wire.

A field without a value is left out; `null` is never sent.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from imgsvc.errors import JobCancelled, ProviderRefusedContent, describe
from imgsvc.jobs.models import BatchSpec, Job, JobKind, JobState, Outcome
from imgsvc.jobs.spent import Spent

MAX_ERROR_LINES = 20
"""How many lines a batch callback's `errors` holds; the manifest holds all."""

SingleStatus = Literal["completed", "failed", "cancelled"]
BatchStatus = Literal["completed", "completed_with_errors", "failed", "cancelled"]


class _Callback(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    status: BatchStatus
    job_id: Annotated[str, Field(json_schema_extra={"format": "uuid"})] = Field(
        description="The id that the 202 answer gave."
    )
    provider: str | None = Field(
        None,
        description="Who edited, or was asked to: `openai`, say, or `local`.",
    )
    fallback: bool = Field(
        default=False,
        description=(
            "True if another one did the edit, mostly the simpler local engine: the result may be"
            " less than what was asked for."
        ),
    )
    fallback_reason: str | None = Field(
        None, description="Why: a stable code, `provider_out_of_credit` say. Only if `fallback`."
    )
    error: str | None = Field(
        None, description="If it did not work: `Kind: what happened and what to do`."
    )
    cost_usd: float | None = Field(
        None,
        description="What the calls of image APIs have cost, in US dollars, as far as that is"
        " known; absent if nothing was called.",
    )
    cost_unknown: bool | None = Field(
        None, description="True if that is not all: a call may have been billed, or has no price."
    )


class _ImageCallback(_Callback):
    filename: str | None = Field(None, description="The file name as it was sent.")
    model: str | None = Field(None, description="The model that edited; the local engine has none.")
    operations: tuple[str, ...] | None = Field(
        None,
        description="What the local engine did, in order: `rotate 90`, say. Only if it edited.",
    )
    ignored: tuple[str, ...] | None = Field(
        None,
        description="Words of the prompt that it did not understand or obey. Only if it edited.",
    )
    moderation_categories: tuple[str, ...] | None = Field(
        None,
        description=(
            "What the image API's moderation objected to: `violence`, say. Only if it tells."
        ),
    )


class ImageToBase64Callback(_ImageCallback):
    """The callback of processImageAsyncToBase64."""

    status: SingleStatus = Field(
        description="`completed`: result_image_base64 is there; otherwise `error` is."
    )
    result_image_base64: str | None = Field(
        None, description="The edited image file as base64.", json_schema_extra={"format": "byte"}
    )
    result_mime_type: str | None = Field(None, description="Its media type: `image/png`, say.")


class ImageToStorageCallback(_ImageCallback):
    """The callback of processImageAsyncToCos."""

    status: SingleStatus = Field(
        description="`completed`: result_url is there; otherwise `error` is."
    )
    object_key: str | None = Field(None, description="The object's key in the output bucket.")
    result_url: str | None = Field(
        None,
        description="A signed download link to the edited image; pass it on unchanged.",
        json_schema_extra={"format": "uri"},
    )
    expires_in: int | None = Field(None, description="How long the link works, in seconds.")


class BatchCallback(_Callback):
    """The callback of batchProcessImages."""

    status: BatchStatus = Field(
        description=(
            "`completed`: the asked-for provider edited every image. `completed_with_errors`: "
            "some failed or were edited by the local engine. `failed`: there is no output."
        )
    )
    total_files: int = Field(0, description="Images found.")
    processed: int = Field(0, description="Images edited by the asked-for provider.")
    failed: int = Field(0, description="Images without an output.")
    fallback_local: int = Field(0, description="Images edited by the local engine instead.")
    fallback_other: int | None = Field(
        None, description="Images edited by another image API instead; absent if there are none."
    )
    total_files_processed: int = Field(0, description="Images with an output.")
    duration_seconds: float = Field(
        0, description="How long the batch took, in seconds, from its first start to its end."
    )
    output_bucket: str | None = Field(None, description="The bucket that holds the edited images.")
    output_prefix: str | None = Field(
        None,
        description=(
            "The edited images and manifest.json are below this, in a folder named by the job id."
        ),
    )
    errors: list[str] = Field(
        default_factory=list,
        description=(
            f"At most {MAX_ERROR_LINES} lines, each `key: reason`; manifest.json has all of them."
        ),
    )


CallbackBody = ImageToBase64Callback | ImageToStorageCallback | BatchCallback

CALLBACK_MODELS: dict[JobKind, type[CallbackBody]] = {
    JobKind.IMAGE_TO_BASE64: ImageToBase64Callback,
    JobKind.IMAGE_TO_STORAGE: ImageToStorageCallback,
    JobKind.BATCH: BatchCallback,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a job ended, and its callback's JSON body in parts to be joined."""

    outcome: Outcome
    body: list[bytes] = field(repr=False)


def unfinished(job: Job, error: BaseException, *, provider: str, spent: Spent) -> Ending:
    """Return the ending of a job that has no result: it was cancelled, or has failed."""
    state = JobState.CANCELLED if isinstance(error, JobCancelled) else JobState.FAILED
    outcome = Outcome(
        state=state,
        provider=provider,
        error=describe(error),
        moderation_categories=(
            error.categories if isinstance(error, ProviderRefusedContent) else ()
        ),
        cost_unknown=spent.is_unknown,
    )
    fields: dict[str, object] = {
        "status": state.value,
        "job_id": job.id,
        "provider": provider,
        "error": outcome.error,
        **spent.shown,
    }
    if not isinstance(job.spec, BatchSpec):
        fields["filename"] = job.spec.filename
        fields["moderation_categories"] = outcome.moderation_categories or None
    body = CALLBACK_MODELS[job.spec.kind].model_validate(fields)
    return Ending(outcome=outcome, body=encode(body))


def encode(body: CallbackBody, *, image_base64: bytes | None = None) -> list[bytes]:
    """Return the JSON document in parts, ready to be written one behind the other.

    `image_base64` becomes the field `result_image_base64`, and the middle one of three
    parts. It is put there as it is: running tens of megabytes through a JSON encoder
    would hold the event loop up, and base64 has no character that JSON escapes.
    """
    fields = body.model_dump(exclude_none=True)
    if image_base64 is None:
        return [orjson.dumps(fields)]
    fields["result_image_base64"] = ""
    # An unescaped quote cannot occur inside a JSON string: the mark is found once, in place.
    mark = b'"result_image_base64":"'
    head, tail = orjson.dumps(fields).split(mark)
    return [head + mark, image_base64, tail]
