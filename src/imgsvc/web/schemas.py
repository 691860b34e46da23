"""The bodies of requests and answers, as callers see them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from imgsvc.web.unpack import LONGEST_TEXT

MAX_PROMPT = LONGEST_TEXT
"""Characters; the limit of OpenAI's image models."""


def _check_size(size: str) -> str:
    if size == "auto":
        return size
    width, height = (int(side) for side in size.split("x"))
    if width % 16 or height % 16 or not 1 / 3 <= width / height <= 3:
        raise ValueError("both sides must be multiples of 16, their ratio between 1:3 and 3:1")
    return size


def _check_prompt(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError("must say what to do with the image")
    return prompt


Prompt = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_PROMPT,
        description=(
            "What to change in the image, in plain words; say also what must stay as it is."
        ),
        examples=["Make the sky look like a sunset"],
    ),
    AfterValidator(_check_prompt),
]
Size = Annotated[
    str,
    Field(
        pattern=r"^(auto|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})$",
        description=(
            "Size of the result in pixels: WIDTHxHEIGHT, both multiples of 16, or `auto`. Leave it"
            " out to let the server choose."
        ),
        examples=["1024x1024"],
    ),
    AfterValidator(_check_size),
]
Quality = Annotated[
    Literal["low", "medium", "high", "xhigh", "max", "auto"],
    Field(
        description="How much work the model puts in; higher is slower and costs more. Not every"
        " model has `xhigh` and `max`."
    ),
]
OutputFormat = Annotated[
    Literal["png", "jpeg", "webp"],
    Field(description="File format of the result; `png` or `webp` if it has transparency."),
]
Model = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9_./:@-]+$",
        description="The image model to use in place of the configured one: the name of a model,"
        " of a provider, or both as `provider/model`; `local` is the simple engine of the server"
        " itself. Rarely needed.",
    ),
]
Fallback = Annotated[
    Literal["allow", "never"],
    Field(
        description=(
            "Whether a simpler local engine may do the edit when the image API cannot: `allow` (as"
            " without this field) or `never`, which lets the edit fail instead."
        )
    ),
]
Priority = Annotated[
    int,
    Field(
        ge=0,
        le=9,
        description=(
            "How urgent it is: 9 is done first, 0 last, 5 if this is left out. Rarely needed."
        ),
    ),
]


MaxCost = Annotated[
    float,
    Field(
        ge=0.000_001,
        le=1_000_000,
        allow_inf_nan=False,
        description=(
            "The most that the job may cost, in US dollars: a call that may cost more than what is"
            " left is not made, and a batch then begins no further image. Rarely needed."
        ),
        examples=[0.5],
    ),
]


class ToolRequest(BaseModel):
    """What every tool takes."""

    # An unknown field is refused by name: a misspelt one would otherwise be ignored.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    prompt: Prompt
    fallback: Fallback | None = None
    model: Model | None = None
    quality: Quality | None = None
    size: Size | None = None
    output_format: OutputFormat | None = None
    priority: Priority | None = None
    max_cost_usd: MaxCost | None = None


class ProcessImageRequest(ToolRequest):
    """One image, by link or as base64, and what to change in it."""

    image_base64: str | None = Field(
        None,
        min_length=1,
        description=(
            "The image file (PNG, JPEG or WebP, say) as base64, standard or URL-safe; a leading"
            " `data:image/...;base64,` is accepted. Give this or image_url, not both."
        ),
        json_schema_extra={"format": "byte"},
    )
    image_url: str | None = Field(
        None,
        min_length=1,
        max_length=2048,
        description=(
            "Where to fetch the image: an http or https link that needs no login. Give this or"
            " image_base64, not both."
        ),
        examples=["https://example.com/photos/shoe.jpg"],
    )
    filename: str | None = Field(
        None,
        max_length=1024,
        description=(
            "The image's file name. It comes back in the callback as it is, and a stored result is"
            " named after it."
        ),
        examples=["photo.jpg"],
    )
    mask_base64: str | None = Field(
        None,
        min_length=1,
        description=(
            "Which part to edit: a PNG below 4 MB as base64, as wide and high as the image, and"
            " transparent where the image may change."
        ),
        json_schema_extra={"format": "byte"},
    )
    background: (
        Annotated[
            Literal["transparent", "opaque", "auto"],
            Field(description="Background of the result; `transparent` cuts the subject out."),
        ]
        | None
    ) = None
    stream_partials: int | None = Field(
        None,
        ge=0,
        le=3,
        description=(
            "How many unfinished versions to show, as thumbnails in the job's events, while the"
            " model works. Each costs a little more. Rarely needed."
        ),
    )

    @model_validator(mode="after")
    def _exactly_one_image(self) -> "ProcessImageRequest":
        if (self.image_base64 is None) == (self.image_url is None):
            raise ValueError("give exactly one of image_base64 and image_url")
        return self


class Accepted(BaseModel):
    """The job is recorded; its callback will follow."""

    accepted: Literal[True] = Field(description="Always true.")
    job_id: str = Field(
        description="The job's id; the callback carries it too.",
        json_schema_extra={"format": "uuid"},
    )


class Retried(Accepted):
    """A new job is recorded that does the same as an old one."""

    retry_of: str = Field(description="The old job.", json_schema_extra={"format": "uuid"})


class FieldProblem(BaseModel):
    """One wrong field of the request."""

    field: str = Field(description="Where: `prompt`, say.")
    message: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """What went wrong, and how to mend it (RFC 9457)."""

    type: str = Field(description="A URI for this kind of problem.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong and how to mend it.")
    code: str = Field(description="A stable word for programs.")
    request_id: str = Field(description="The X-Request-Id of this request, for the logs.")
    errors: list[FieldProblem] | None = Field(
        None, description="Wrong fields of the request, one entry each."
    )
    categories: list[str] | None = Field(
        None,
        description="What moderation objects to; only of `prompt_rejected`, and only if it did.",
    )
    state: str | None = Field(None, description="How the job has ended; only of `job_finished`.")
    rule: str | None = Field(
        None,
        description="The limit that is reached, or the rule that does not allow it; only of"
        " `client_limit_reached` and `not_allowed_for_client`.",
    )
    allowed: list[str | int] | None = Field(
        None, description="What the rule allows; only of `not_allowed_for_client`."
    )
