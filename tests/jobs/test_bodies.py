import json
from typing import Any

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import ImgsvcError, JobCancelled, JobTimeout
from imgsvc.jobs.bodies import (
    BatchCallback,
    CallbackBody,
    Ending,
    ImageToBase64Callback,
    ImageToStorageCallback,
    encode,
    unfinished,
)
from imgsvc.jobs.models import BatchSpec, ImageSpec, JobKind, JobState
from imgsvc.jobs.spent import Spent
from jobs.parts import JOB_ID, batch_spec, image_spec, make_job

MARK = '"result_image_base64":"'
COUNTERS = {"total_files", "processed", "failed", "fallback_local", "total_files_processed"}

# Whatever a caller may have sent as JSON: any text but lone surrogates, which JSON in
# UTF-8 cannot hold, with the mark that the image is spliced in at among it.
filenames = st.none() | st.lists(
    st.text() | st.sampled_from([MARK, '"', "\\", '":"', "result_image_base64", "\x00"])
).map("".join)


def inline(filename: str | None, **fields: Any) -> ImageToBase64Callback:
    return ImageToBase64Callback(
        status="completed",
        job_id=JOB_ID,
        filename=filename,
        provider="openai",
        result_mime_type="image/png",
        **fields,
    )


def decode(parts: list[bytes]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(b"".join(parts))
    return document


@given(filename=filenames, image=st.binary())
def test_an_image_is_put_into_valid_json_beside_any_file_name(
    filename: str | None, image: bytes
) -> None:
    document = decode(encode(inline(filename), image_base64=pybase64.b64encode(image)))

    expected = {
        "status": "completed",
        "job_id": JOB_ID,
        "provider": "openai",
        "fallback": False,
        "result_image_base64": pybase64.b64encode(image).decode(),
        "result_mime_type": "image/png",
    }
    assert document == (expected if filename is None else expected | {"filename": filename})


def test_the_image_is_one_of_the_parts_as_it_came() -> None:
    image = b"QUJD" * 1000
    assert encode(inline("a.png"), image_base64=image)[1] is image


@pytest.mark.parametrize("reason", [MARK, f"{{{MARK}QUJD"])
def test_the_mark_is_harmless_in_other_fields_too(reason: str) -> None:
    body = inline("a.png", fallback=True, fallback_reason=reason)

    document = decode(encode(body, image_base64=b"QUJD"))
    assert (document["fallback_reason"], document["result_image_base64"]) == (reason, "QUJD")


@given(
    body=st.one_of(
        st.builds(ImageToBase64Callback),
        st.builds(ImageToStorageCallback),
        st.builds(BatchCallback, duration_seconds=st.floats(0, 1e6)),
    )
)
def test_a_field_without_a_value_is_left_out(body: CallbackBody) -> None:
    document = decode(encode(body))

    assert None not in document.values()
    assert document == {k: v for k, v in body.model_dump().items() if v is not None}


def failed(spec: ImageSpec | BatchSpec) -> Ending:
    return unfinished(make_job(spec), JobTimeout("too long"), provider="openai", spent=Spent())


SINGLE_FAILED = {"status", "job_id", "filename", "error", "provider", "fallback"}


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (image_spec(kind=JobKind.IMAGE_TO_BASE64, filename="a.png"), SINGLE_FAILED),
        (image_spec(kind=JobKind.IMAGE_TO_STORAGE, filename="a.png"), SINGLE_FAILED),
        (image_spec(kind=JobKind.IMAGE_TO_BASE64), SINGLE_FAILED - {"filename"}),
        (
            batch_spec(),
            COUNTERS | {"status", "job_id", "error", "provider", "fallback"}
            | {"duration_seconds", "errors"},
        ),
    ],
)  # fmt: skip
def test_a_failed_job_has_these_fields_and_no_others(
    spec: ImageSpec | BatchSpec, fields: set[str]
) -> None:
    document = decode(failed(spec).body)
    assert set(document) == fields
    assert (document["status"], document["error"]) == ("failed", "JobTimeout: too long")
    assert (document["job_id"], document["provider"]) == (JOB_ID, "openai")
    assert document["fallback"] is False


def test_a_failed_batch_counts_nothing() -> None:
    document = decode(failed(batch_spec()).body)
    assert {document[name] for name in COUNTERS} == {0}
    assert document["errors"] == []


@given(filename=filenames)
def test_a_failed_job_echoes_any_file_name_exactly(filename: str | None) -> None:
    document = decode(failed(image_spec(filename=filename)).body)
    assert document.get("filename") == filename


@pytest.mark.parametrize(
    ("error", "state"),
    [(JobTimeout("too long"), JobState.FAILED), (JobCancelled(), JobState.CANCELLED)],
)
def test_a_job_without_a_result_says_the_same_in_record_and_callback(
    error: ImgsvcError, state: JobState
) -> None:
    ending = unfinished(make_job(image_spec()), error, provider="openai", spent=Spent())

    document = decode(ending.body)
    assert ending.outcome.state is state
    assert (document["status"], document["error"]) == (state.value, ending.outcome.error)
    assert (document["provider"], ending.outcome.provider) == ("openai", "openai")
