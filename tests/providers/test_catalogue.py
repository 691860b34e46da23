"""Who edits a request, and what is refused at once."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from imgsvc.errors import InvalidRequest, ModelNotOffered, NotOfferedByModel
from imgsvc.imaging.formats import ImageFormat
from imgsvc.providers import Catalogue, EditOptions, Model, OpenAIConfig
from imgsvc.providers.models import known_models
from providers.desks import FailingProvider

KEY = {"api_key": "sk-1"}


def catalogue() -> Catalogue:
    """Return what two providers offer; the second one's models have no masks and no streams."""
    return Catalogue(
        [
            FailingProvider(None, name="first", partial_images=1),
            FailingProvider(None, name="second", masks=False, any_size=False, sizes=("512x512",)),
        ]
    )


def chosen(options: EditOptions, *, has_mask: bool = False) -> list[str]:
    return [
        f"{choice.provider.name}/{choice.model.name}"
        for choice in catalogue().choices(options, has_mask=has_mask)
    ]


def refusal(options: EditOptions, *, has_mask: bool = False) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        catalogue().check(options, has_mask=has_mask)
    return refused.value


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (None, ["first/model-1", "second/model-1"]),
        ("model-2", ["first/model-2", "second/model-2"]),
        ("second", ["second/model-1", "first/model-1"]),
        ("second/model-2", ["second/model-2", "first/model-1"]),
        ("second/none", []),
        ("none", []),
    ],
)
def test_a_model_is_named_by_itself_by_its_provider_or_by_both(
    model: str | None, expected: list[str]
) -> None:
    assert chosen(EditOptions(model=model)) == expected


@pytest.mark.parametrize(
    ("model", "held_to", "expected"),
    [
        (None, ("model-1",), ["first/model-1", "second/model-1"]),
        (None, ("second",), ["second/model-1"]),
        (None, ("second/model-1",), ["second/model-1"]),
        (None, ("model-2",), []),
        ("model-2", ("second/model-2", "first"), ["first/model-2", "second/model-2"]),
        ("model-2", ("second/model-2",), ["second/model-2"]),
        ("second", ("first",), []),
        ("first/model-2", ("first/model-2",), ["first/model-2"]),
        ("model-1", (), []),
        ("local", ("model-1",), None),
        ("local", ("local",), None),
    ],
)
def test_nobody_edits_or_steps_in_that_the_caller_is_not_held_to(
    model: str | None, held_to: tuple[str, ...], expected: list[str] | None
) -> None:
    options = EditOptions(model=model, models=held_to)
    allowed = catalogue().allows(options, has_mask=False)
    if expected is None:
        assert allowed == (model in held_to)
    else:
        assert chosen(options) == expected
        assert allowed == bool(expected)


def test_without_a_provider_only_the_name_tells_what_is_allowed() -> None:
    for model, allowed in ((None, True), ("model-1", True), ("model-2", False), ("local", False)):
        options = EditOptions(model=model, models=("model-1",))
        assert Catalogue([]).allows(options, has_mask=False) is allowed


def test_only_who_can_do_all_of_it_steps_in() -> None:
    assert chosen(EditOptions(), has_mask=True) == ["first/model-1"]
    assert chosen(EditOptions(size="1024x1024")) == ["first/model-1"]
    assert chosen(EditOptions(size="512x512")) == ["first/model-1", "second/model-1"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (None, ["first/model-1", "second/model-1"]),
        ("model-2", ["first/model-2", "second/model-2"]),
        ("first", ["first/model-1", "second/model-1"]),
        ("second", []),
    ],
)
def test_who_only_steps_in_need_not_stream(model: str | None, expected: list[str]) -> None:
    assert chosen(EditOptions(model=model, stream_partials=1)) == expected


def test_who_can_stream_is_asked_before_who_cannot() -> None:
    swapped = Catalogue(
        [
            FailingProvider(None, name="first"),
            FailingProvider(None, name="second", partial_images=1),
        ]
    )
    choices = swapped.choices(EditOptions(stream_partials=1), has_mask=False)
    assert [choice.provider.name for choice in choices] == ["second", "first"]


@pytest.mark.parametrize(
    ("options", "has_mask", "field", "told"),
    [
        (EditOptions(model="second", size="16x16"), False, "size", "model-1 takes 512x512"),
        (EditOptions(model="second"), True, "mask_base64", "model-1 takes no mask"),
        (EditOptions(quality="max"), False, "quality", "takes auto, low, medium, high"),
        (EditOptions(model="local", quality="low"), False, "quality", "local takes none"),
        (EditOptions(model="local", size="16x16"), False, "size", "local takes none"),
        (EditOptions(model="local"), True, "mask_base64", "local takes no mask"),
        (EditOptions(stream_partials=3), False, "stream_partials", "model-1 takes 1 at most"),
        (
            EditOptions(model="second", stream_partials=1),
            False,
            "stream_partials",
            "model-1 takes none: leave it out",
        ),
        (EditOptions(model="local", stream_partials=1), False, "stream_partials", "takes none"),
        (
            EditOptions(background="transparent", output_format=ImageFormat.JPEG),
            False,
            "output_format",
            "png or webp",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused_with_what_it_can(
    options: EditOptions, has_mask: bool, field: str, told: str
) -> None:
    error = refusal(options, has_mask=has_mask)
    assert type(error) is NotOfferedByModel
    assert [wrong.field for wrong in error.errors] == [field]
    assert told in error.errors[0].message
    assert told in error.message


def test_a_model_that_nobody_has_is_refused_with_those_there_are() -> None:
    error = refusal(EditOptions(model="dall-e-2"))
    assert type(error) is ModelNotOffered
    names = "first/model-1, first/model-2, second/model-1, second/model-2, local"
    assert names in error.errors[0].message


def test_without_providers_nothing_is_refused_for_the_local_engine_steps_in() -> None:
    options = EditOptions(model="gpt-image-2", size="1024x1024")
    Catalogue([]).check(options, has_mask=True)
    assert Catalogue([]).choices(options, has_mask=True) == []
    assert Catalogue([]).asked_for(options, has_mask=True) == "local"


@pytest.mark.parametrize("model", [None, "local", "second"])
def test_what_can_be_done_is_not_refused(model: str | None) -> None:
    options = EditOptions(model=model, output_format=ImageFormat.WEBP)
    catalogue().check(options, has_mask=False)
    assert catalogue().asked_for(options, has_mask=False) == (model or "first")


# -- the models of OpenAI -----------------------------------------------------------------


def test_every_known_model_tells_what_it_can_and_costs() -> None:
    for name, model in known_models().items():
        assert model.name == name
        assert model.price is not None
        assert {"auto", "low", "medium", "high"} <= set(model.qualities)
        assert {"auto", "1024x1024"} <= set(model.sizes)
        assert model.formats
        assert model.masks


def test_another_server_offers_the_default_model_alone_unless_it_says_more() -> None:
    there = KEY | {"base_url": "https://images.example.com/v1"}
    assert list(OpenAIConfig.model_validate(there).offered) == ["gpt-image-2"]
    assert list(OpenAIConfig.model_validate(there | {"model": "x"}).offered) == ["x"]
    assert list(OpenAIConfig.model_validate(there | {"models": ["x", "y"]}).offered) == ["x", "y"]


def test_models_that_were_taken_away_are_not_offered() -> None:
    today = date.today()  # noqa: DTZ011 - a day's difference between zones does not matter here
    offered = OpenAIConfig.model_validate(KEY).offered
    assert next(iter(offered)) == "gpt-image-2"
    assert {n for n, m in known_models().items() if m.ends and m.ends < today}.isdisjoint(offered)


def test_the_first_of_the_models_edits_where_a_request_names_none() -> None:
    config = OpenAIConfig.model_validate(KEY | {"models": ["gpt-image-2.5-flare", "x"]})
    assert list(config.offered) == ["gpt-image-2.5-flare", "x"]
    assert config.offered["gpt-image-2.5-flare"].price is not None
    assert config.offered["x"] == Model(name="x", default_quality="medium")


def test_what_is_said_of_a_model_counts_more_than_what_is_known() -> None:
    table = {"name": "gpt-image-2", "masks": False}
    config = OpenAIConfig.model_validate(KEY | {"model": "gpt-image-2", "models": [table]})
    model = config.offered["gpt-image-2"]
    assert (model.masks, model.partial_images) == (False, 3)


@pytest.mark.parametrize("wrong", [3, {}, {"name": "x", "mask": True}, {"name": "a b"}])
def test_a_model_that_is_no_model_is_a_problem_of_the_configuration(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        OpenAIConfig.model_validate(KEY | {"models": [wrong]})


@pytest.mark.parametrize("name", ["local", "a/b", "Big", ""])
def test_a_provider_has_a_name_that_can_be_asked_for(name: str) -> None:
    with pytest.raises(ValidationError):
        OpenAIConfig.model_validate(KEY | {"name": name})
