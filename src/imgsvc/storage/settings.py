"""What the configurations of all storages have in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from imgsvc.storage.keys import normal_prefix

Prefix = Annotated[str, AfterValidator(normal_prefix)]


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
