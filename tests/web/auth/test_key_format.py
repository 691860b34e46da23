"""What a key looks like."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from imgsvc.web.auth.api_keys import new_key, parse
from imgsvc.web.auth.roles import Role


def test_each_key_is_another_and_has_256_random_bits() -> None:
    keys = {new_key("ann", [Role.READ])[1] for _ in range(100)}
    assert len({key.split("_")[1] for key in keys}) == 100
    assert all(len(key.split("_", 2)[2]) == 43 for key in keys)


@given(st.text() | st.from_regex(r"imgsvc_[a-z0-9_]{9,12}_.{40,46}", fullmatch=True))
@example("imgsvc_abcdefghij_" + "x" * 43 + "\n")
@example("imgsvc_abcdefghij_" + "é" * 43)
@example("imgsvc_ABCDEFGHIJ_" + "x" * 43)
def test_nothing_but_a_key_is_read_as_one(text: str) -> None:
    presented = parse(text)
    is_key = re.fullmatch(r"imgsvc_[a-z0-9]{10}_[A-Za-z0-9_-]{43}", text, re.ASCII) is not None
    assert (presented is not None) == is_key
    if presented is not None:
        assert text.startswith(f"imgsvc_{presented.id}_")


def test_a_made_key_is_read_as_what_is_kept_of_it() -> None:
    kept, key = new_key("ann", [Role.READ])
    presented = parse(key)
    assert presented is not None
    assert (presented.id, presented.digest) == (kept.id, kept.digest)
