"""The local engine: no network, no cost, and a watermark that says so."""

from pydantic import BaseModel, ConfigDict, Field

from imgsvc.imaging.editing import Unknown, edit_by_prompt
from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.pool import ImagePool
from imgsvc.providers.base import LOCAL, EditRequest, EditResult


class LocalConfig(BaseModel):
    """The engine that edits on this machine where no image API can."""

    model_config = ConfigDict(extra="forbid")

    unknown: Unknown = Field(
        Unknown.DEMO,
        description=(
            "If nothing in the prompt is understood: `demo` inverts the colours and says so on"
            " the picture, `refuse` fails with `instruction_not_understood`."
        ),
    )
    watermark: bool = Field(
        default=True,
        description="Write on every result that no image API made it; a demo always says so.",
    )


class LocalProvider:
    """Does what it understands of the prompt; writes on the picture if it stepped in."""

    def __init__(self, pool: ImagePool, config: LocalConfig) -> None:
        self._pool = pool
        self._config = config

    async def edit(self, request: EditRequest, reason: str | None = None) -> EditResult:
        """Return the edited picture.

        `reason` is the code of the error for which the local engine steps in; None if the
        caller asked for it by name.

        Raises InstructionNotUnderstood, ImageError or ImageProcessDied.
        """
        # The prompt is read in the image process as well: 32,000 characters take a while.
        edited = await self._pool.run(
            edit_by_prompt,
            request.image,
            request.prompt,
            request.options.output_format,
            reason=reason,
            unknown=self._config.unknown,
            watermark=self._config.watermark,
        )
        return EditResult(
            image=EncodedImage(format=edited.format, content=edited.content),
            provider=LOCAL,
            fallback_reason=reason,
            operations=edited.operations,
            ignored=edited.ignored,
        )
