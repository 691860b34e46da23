from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.providers import EditOptions, EditRequest, Model, OpenAIConfig, Usage
from imgsvc.providers.models import Price, TokenBounds, known_models
from imgsvc.providers.pricing import NANO, cost, estimate, in_nano, in_usd, is_free

USAGE = Usage(text_tokens=17, image_tokens=306, output_tokens=1056)
MODEL = known_models()["gpt-image-2"]
counts = st.integers(0, 10**9)


def priced(text_input: float = 0, image_input: float = 0, output: float = 0) -> Model:
    price = Price(text_input=text_input, image_input=image_input, output=output)
    return Model(name="model-1", price=price)


@pytest.fixture
def request_(make_request: Any) -> EditRequest:
    request: EditRequest = make_request()
    return request


def test_a_token_at_five_dollars_a_million_costs_five_thousand_nano_dollars() -> None:
    assert cost(priced(text_input=5), Usage(text_tokens=1)) == 5_000
    assert cost(priced(image_input=2.5), Usage(image_tokens=1)) == 2_500
    assert cost(MODEL, USAGE) == 17 * 5_000 + 306 * 8_000 + 1056 * 30_000


@given(st.builds(Usage, text_tokens=counts, image_tokens=counts, output_tokens=counts))
def test_sums_are_exact(usage: Usage) -> None:
    tokens = usage.text_tokens + usage.image_tokens + usage.output_tokens
    assert cost(priced(2.5, 2.5, 2.5), usage) == 2_500 * tokens


def test_an_unknown_price_is_unknown_and_not_zero() -> None:
    assert cost(Model(name="its-model"), USAGE) is None
    assert cost(Model(name="its-model"), None) is None


def test_a_picture_without_counted_tokens_costs_its_own_price_or_is_unknown() -> None:
    assert cost(MODEL, None) is None
    assert cost(MODEL.model_copy(update={"usd_per_image": 0.04}), None) == in_nano(0.04)
    assert cost(Model(name="its-model", usd_per_image=0.04), USAGE) == in_nano(0.04)


@pytest.mark.parametrize("model", [priced(), Model(name="its-model", usd_per_image=0)])
def test_what_is_free_costs_nothing_whatever_happened(model: Model, request_: EditRequest) -> None:
    assert is_free(model)
    assert cost(model, None) == cost(model, USAGE) == estimate(model, request_) == 0


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        Model(name="its-model"),
        Model(name="its-model", usd_per_image=0.04),
        priced().model_copy(update={"usd_per_image": 0.04}),
        priced(output=1),
    ],
)
def test_all_else_is_not_free(model: Model) -> None:
    assert not is_free(model)


def test_dollars_are_shown_with_six_places() -> None:
    assert in_usd(1_234_567_890) == 1.234568
    assert in_usd(in_nano(0.1) + in_nano(0.2)) == 0.3
    assert in_nano(1) == NANO


# -- estimates ----------------------------------------------------------------------------


def test_nothing_is_estimated_without_a_price(request_: EditRequest) -> None:
    assert estimate(Model(name="its-model"), request_) is None
    assert estimate(Model(name="its-model", usd_per_image=0.04), request_) == in_nano(0.04)


def tokens_of(model: Model, request: EditRequest, **options: Any) -> int:
    """Return how many tokens of output are expected at most."""
    of_output = model.model_copy(
        update={"price": Price(text_input=0, image_input=0, output=1), "usd_per_image": None}
    )
    expected = estimate(of_output, replace(request, options=EditOptions(**options)))
    assert expected is not None
    return expected // 1000


# https://platform.openai.com/docs/guides/image-generation#cost-and-latency: dollars an image.
PUBLISHED = [
    ("gpt-image-2", "1024x1024", {"low": 0.006, "medium": 0.053, "high": 0.211}),
    ("gpt-image-2", "1536x1024", {"low": 0.005, "medium": 0.041, "high": 0.165}),
    ("gpt-image-1.5", "1024x1024", {"low": 0.009, "medium": 0.034, "high": 0.133}),
    ("gpt-image-1.5", "1024x1536", {"low": 0.013, "medium": 0.05, "high": 0.2}),
]


@pytest.mark.parametrize(("name", "size", "by_quality"), PUBLISHED)
@pytest.mark.parametrize("quality", ["low", "medium", "high"])
def test_no_published_cost_of_a_result_is_above_its_estimate(
    name: str, size: str, by_quality: dict[str, float], quality: str, request_: EditRequest
) -> None:
    model = known_models()[name]
    assert model.price is not None
    rounding = 0.0005
    most = tokens_of(model, request_, size=size, quality=quality) * model.price.output / 1e6
    assert most + rounding > by_quality[quality]


@pytest.mark.parametrize("quality", ["auto", "xhigh", "max", None])
def test_a_quality_that_may_be_any_counts_as_the_highest(
    quality: str | None, request_: EditRequest
) -> None:
    model = Model(name="model-1", tokens=TokenBounds(low=1, medium=10, high=100))
    assert tokens_of(model, request_, quality=quality, size="1024x1024") == 100


def test_without_a_quality_in_the_request_that_of_the_configuration_counts(
    request_: EditRequest,
) -> None:
    config = OpenAIConfig.model_validate({"quality": "low"})
    model = config.offered["gpt-image-2"]
    assert tokens_of(model, request_) < tokens_of(model, request_, quality="medium")


def test_a_larger_result_costs_more_by_its_area_and_a_small_one_not_less(
    request_: EditRequest,
) -> None:
    def of_size(size: str | None) -> int:
        return tokens_of(MODEL, request_, quality="high", size=size)

    assert of_size("2048x2048") == 4 * of_size("1024x1024")
    assert of_size("512x512") == of_size("1024x1024")
    assert of_size("auto") == of_size(None) == of_size("1536x1024")


def test_a_mask_counts_as_a_second_picture_and_every_byte_of_the_prompt_as_a_token(
    request_: EditRequest,
) -> None:
    def rise(model: Model, changed: EditRequest) -> int:
        before, after = estimate(model, request_), estimate(model, changed)
        assert before is not None
        assert after is not None
        return after - before

    masked = replace(request_, mask=request_.image)
    assert rise(priced(image_input=1), masked) == 1000 * MODEL.tokens.image
    longer = replace(request_, prompt=request_.prompt + "夜" * 10)
    assert rise(priced(text_input=1), longer) == 1000 * 30


def test_every_model_that_is_known_has_a_price() -> None:
    assert all(model.price is not None for model in known_models().values())


def test_streamed_partial_images_cost_a_hundred_tokens_each(request_: EditRequest) -> None:
    plain = estimate(MODEL, request_)
    streamed = estimate(MODEL, replace(request_, options=EditOptions(stream_partials=2)))
    assert plain is not None
    assert streamed == plain + 2 * 100 * 30_000
