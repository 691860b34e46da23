import pytest

from imgsvc.providers.categories import MAX_CATEGORIES, category_names


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
