"""What a call costs, and what it may cost at most: arithmetic on the price table.

Money is a whole number of nano-dollars: a token at 5 USD a million is 5,000 of them, so
that sums are exact. None is a cost that nobody knows, which is not the same as nothing.
"""

from math import ceil

from imgsvc.providers.base import EditRequest, Usage
from imgsvc.providers.models import Model
from imgsvc.providers.options import EditOptions

NANO = 10**9
"""Nano-dollars in a dollar."""

_TOKEN = 1000  # nano-dollars of a token that costs 1 USD a million
_SQUARE = 1024 * 1024  # pixels of the result that the bounds of a model are for
_AUTO = 1.5 * _SQUARE  # of the largest standard size, 1536x1024: what `auto` may choose
_PARTIAL = 100  # tokens of each partial image, as OpenAI's guide to image generation says
_TEXT_OVERHEAD = 100  # tokens that an API may add to the prompt


def in_nano(usd: float) -> int:
    """Return an amount of dollars in nano-dollars."""
    return round(usd * NANO)


def in_usd(nano: int) -> float:
    """Return an amount of nano-dollars in dollars, rounded as it is shown."""
    return round(nano / NANO, 6)


def cost(model: Model, usage: Usage | None) -> int | None:
    """Return what a call has cost that gave a picture; None if that is not known."""
    if model.price is not None and usage is not None:
        return round(
            _TOKEN
            * (
                usage.text_tokens * model.price.text_input
                + usage.image_tokens * model.price.image_input
                + usage.output_tokens * model.price.output
            )
        )
    if model.usd_per_image is not None:
        return in_nano(model.usd_per_image)
    return 0 if is_free(model) else None


def is_free(model: Model) -> bool:
    """Tell whether no call of this model costs anything."""
    price = model.price
    if price is None:
        return model.usd_per_image == 0
    return not (model.usd_per_image or price.text_input or price.image_input or price.output)


def estimate(model: Model, request: EditRequest) -> int | None:
    """Return what a call will cost at most; None if the model's price is not known."""
    pictures = 1 if request.mask is None else 2
    return at_most(model, request.options, prompt=request.prompt, pictures=pictures)


def at_most(model: Model, options: EditOptions, *, prompt: str, pictures: int = 1) -> int | None:
    """Return what a call with so many pictures costs at most; None if no price is known."""
    if model.price is None:
        return cost(model, None)
    most = Usage(
        # A token is at least one byte: https://github.com/openai/tiktoken
        text_tokens=len(prompt.encode()) + _TEXT_OVERHEAD,
        image_tokens=pictures * model.tokens.image,
        output_tokens=_output_tokens(model, options),
    )
    # By the image where a server counts no tokens.
    return max(cost(model, most) or 0, in_nano(model.usd_per_image or 0))


def _output_tokens(model: Model, options: EditOptions) -> int:
    """Return the most tokens of a result; small ones count as one of 1024x1024."""
    bounds = {"low": model.tokens.low, "medium": model.tokens.medium}
    of_square = bounds.get(options.quality or model.default_quality or "auto", model.tokens.high)
    pixels = _AUTO
    if options.size is not None and options.size != "auto":
        width, height = (int(side) for side in options.size.split("x"))
        pixels = width * height
    partials = min(options.stream_partials, model.partial_images)
    return ceil(of_square * max(1, pixels / _SQUARE)) + partials * _PARTIAL
