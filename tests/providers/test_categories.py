import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.providers.categories import MAX_CATEGORIES, category_names, refused_categories

TEXT = "Rejected by the safety system. Request ID req_1f. safety_violations="


def test_names_of_categories_come_through_once_and_in_their_order() -> None:
    found = ["violence/graphic", "self-harm", "violence/graphic", "sexual", "illicit_drugs"]
    assert category_names(found) == ("violence/graphic", "self-harm", "sexual", "illicit_drugs")


@pytest.mark.parametrize(
    "found", ["", "Sexual", "a b", "sk-1", "violence\n", "-x", "<b>", "é", "a" * 65, 7, None, ["x"]]
)
def test_nothing_else_passes_for_a_name(found: object) -> None:
    assert category_names([found, "hate"]) == ("hate",)


def test_their_number_is_bounded() -> None:
    names = [f"x{'y' * number}" for number in range(40)]
    assert category_names(names) == tuple(names[:MAX_CATEGORIES])


def details(categories: object) -> dict[str, object]:
    return {"moderation_details": {"moderation_stage": "output", "categories": categories}}


@pytest.mark.parametrize(
    ("body", "categories"),
    [
        (details(["sexual", "violence"]), ("sexual", "violence")),
        (details(["violence"]) | {"message": f"{TEXT}[sexual]."}, ("violence",)),
        (details([]) | {"message": f"{TEXT}[sexual]."}, ("sexual",)),
        (details(["No. 1", None]) | {"message": f"{TEXT}[sexual]."}, ("sexual",)),
        (details(["No. 1", "hate"]), ("hate",)),
        ({"message": f"{TEXT}[sexual]."}, ("sexual",)),
        ({"message": f"{TEXT}[sexual, violence]."}, ("sexual", "violence")),
        ({"message": f"{TEXT}[self-harm/intent,hate]"}, ("self-harm/intent", "hate")),
        ({"message": f"{TEXT}[{', '.join(['a' * 64] * 16)}]"}, ("a" * 64,)),
    ],
)
def test_a_refusal_tells_its_categories_in_a_field_or_in_its_message(
    body: object, categories: tuple[str, ...]
) -> None:
    assert refused_categories(body) == categories


@pytest.mark.parametrize(
    "body",
    [
        None,
        "safety_violations=[sexual]",
        [],
        {},
        details("sexual"),
        details({"sexual": True}),
        details(None),
        {"moderation_details": "sexual"},
        {"moderation_details": None, "message": None},
        {"message": "sexual"},
        {"message": f"{TEXT}[]"},
        {"message": f"{TEXT}[, ]"},
        {"message": f"{TEXT}[sexual"},
        {"message": f"{TEXT}['sexual']"},
        {"message": f"{TEXT}[<b>sexual</b>]"},
        {"message": f"{TEXT}[sexual; key sk-1]"},
        {"message": f"{TEXT}[{'a, ' * 1000}a]"},
    ],
)
def test_what_is_in_another_form_is_no_category(body: object) -> None:
    assert refused_categories(body) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.just(f"{TEXT}[sexual, A]"),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["moderation_details", "categories", "message"]) | st.text(), inner
        )
    ),
)


@given(body=JSON)
def test_no_body_upsets_the_reading(body: object) -> None:
    found = refused_categories(body)
    assert category_names(found) == found
