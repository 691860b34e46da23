"""What the configurations of all storages have in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from imgsvc.errors import InvalidObjectKey
from imgsvc.storage.keys import MAX_PREFIX_BYTES, check_key, normal_prefix


def _folder(prefix: str) -> str:
    """Return a prefix in normal form; it must be one that keys can begin with."""
    normal = normal_prefix(prefix)
    try:
        check_key(f"{normal}x")
    except InvalidObjectKey as exc:
        raise ValueError("must name a folder of a bucket, without `.` and `..`") from exc
    if len(normal.encode()) > MAX_PREFIX_BYTES:
        raise ValueError(f"must not have more than {MAX_PREFIX_BYTES} bytes")
    return normal


Prefix = Annotated[str, AfterValidator(_folder)]


class StorageSettings(BaseModel):
    """Where inputs lie, where outputs go and how long links work."""

    model_config = ConfigDict(extra="forbid")

    input_prefix: Prefix = Field(
        "input/", description="Folder of the input bucket that a batch reads, if it names none."
    )
    output_prefix: Prefix = Field(
        "output/",
        description="Folder of the output bucket that a batch writes to, if it names none.",
    )
    presign_expires: int = Field(
        3600, ge=1, le=604_800, description="How long a link to a result works, in seconds."
    )
