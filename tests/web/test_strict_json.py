"""JSON made to be read in two ways or to cost much, and characters that have no place in texts."""

import io
import json
from typing import Any

import pytest
from multidict import CIMultiDict

from standins.service import Caller
from web.refusals import PATHS, PHOTO, assert_problem, raw
from web.submitting import submit

pytestmark = pytest.mark.asyncio(loop_scope="package")

PROMPT = b'{"prompt": "x", "a": '


@pytest.mark.parametrize(
    "body",
    {
        "float-beyond-doubles": PROMPT + b"1e999999}",
        "negative": PROMPT + b"-1e999999}",
        "integer-of-100000-digits": PROMPT + b"9" * 100_000 + b"}",
        "nan": PROMPT + b"NaN}",
        "infinity": PROMPT + b"-Infinity}",
        "field-twice": b'{"prompt": "x", "prompt": "y"}',
        "field-twice-by-escape": b'{"prompt": "x", "prom\\u0070t": "y"}',
        "inner-field-twice": PROMPT + b'[{"b": 1, "b": 1}]}',
        "lone-surrogate": PROMPT + b'"\\ud800"}',
        "surrogates-in-wrong-order": PROMPT + b'"\\udc00\\ud800"}',
        "surrogate-in-utf-8": PROMPT + b'"\xed\xa0\x80"}',
        "byte-order-mark": b"\xef\xbb\xbf" + json.dumps(PHOTO).encode(),
        "utf-16": json.dumps(PHOTO).encode("utf-16"),
        "utf-32": json.dumps(PHOTO).encode("utf-32-be"),
        "line-end-in-text": PROMPT + b'"\n"}',
        "nul-at-the-end": json.dumps(PHOTO).encode() + b"\0",
        "two-documents": b"{}{}",
        "65-lists": PROMPT + b"[" * 64 + b"]" * 64 + b"}",
        "65-objects": b'{"a":' * 65 + b"1" + b"}" * 65,
        "depth-of-30-million": b"[" * 30_000_000,
    }.items(),
    ids=lambda pair: pair[0],
)
@pytest.mark.parametrize("path", PATHS)
async def test_what_is_not_beyond_doubt_is_refused(
    local: Caller, path: str, body: tuple[str, bytes]
) -> None:
    status, problem, _ = await raw(local, io.BytesIO(body[1]), path)
    assert status == 400
    assert_problem(status, problem, "invalid_json")


@pytest.mark.parametrize("value", [b"-0", b"1e-999999", b"[" * 63 + b"]" * 63], ids=repr)
async def test_what_is_odd_but_clear_is_judged_by_its_fields(local: Caller, value: bytes) -> None:
    status, problem, _ = await raw(local, PROMPT + value + b"}")
    assert status == 422
    assert_problem(status, problem, "invalid_request")


@pytest.mark.slow
async def test_a_million_fields_are_refused(local: Caller) -> None:
    body = json.dumps({f"field{number}": number for number in range(1_000_000)}).encode()
    status, problem, _ = await raw(local, io.BytesIO(body))
    assert status == 422
    assert_problem(status, problem, "invalid_request")


@pytest.mark.parametrize("character", ["\0", "\r", "\n", "\t", "\x1b", "\x7f", "\x9b"])
@pytest.mark.parametrize("field", ["filename", "model", "image_url", "unheard-of\n"])
async def test_control_characters_are_refused(local: Caller, field: str, character: str) -> None:
    answer = await submit(
        local, PHOTO | {field: f"a{character}b"}, headers={"Prefer": "respond-async"}
    )
    assert_problem(400, answer.body, "control_character")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("character", ["\0", "\x0b", "\x1b", "\x7f"])
async def test_a_prompt_has_none_but_lines_and_tabs(
    local: Caller, path: str, character: str
) -> None:
    headers = {"Prefer": "respond-async"}
    answer = await submit(local, PHOTO | {"prompt": f"a{character}b"}, path, headers)
    assert_problem(400, answer.body, "control_character")


@pytest.mark.parametrize(
    "fields",
    [
        {"input_prefix": "a\n"},
        {"output_prefix": "a\n"},
        {"input_bucket": "a\n"},
        {"keys": ["a.png", "b\0.png"]},
        {"keys": ["a\r\nb.png"]},
        {"include": ["*.png", "\x1b[2J"]},
        {"exclude": ["\x7f"]},
        {"of\nno": "tool"},
    ],
    ids=str,
)
async def test_control_characters_are_refused_of_a_batch(
    local: Caller, fields: dict[str, Any]
) -> None:
    body = {"prompt": "x"} | fields
    answer = await submit(local, body, PATHS[2], {"Prefer": "respond-async"})
    assert_problem(400, answer.body, "control_character")


async def test_lines_and_tabs_of_a_prompt_are_taken(local: Caller) -> None:
    prompt = {"prompt": "grey\r\n\tblur\n"}
    answer = await submit(local, PHOTO | prompt, headers={"Prefer": "respond-async"})
    assert answer.status == 202


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "values",
    [
        ["http://example.com/1", "http://example.com/2"],
        ["http://example.com/", "http://example.com/"],
        ["", "http://example.com/"],
        ["http://example.com/, http://example.com/"],
        ["http://user:word@example.com/"],
        ["http://example.com/a b"],
        ["http://example.com/a\tb"],
        ["http:\\\\example.com/"],
        ["//example.com/"],
        ["javascript:alert(1)"],
        ["http://"],
        ["http://example.com:99999/"],
    ],
    ids="-and-".join,
)
async def test_a_callback_url_that_is_not_beyond_doubt_is_refused(
    local: Caller, path: str, values: list[str]
) -> None:
    headers: Any = CIMultiDict([("callbackUrl", value) for value in values])
    answer = await submit(local, PHOTO, path, headers)
    assert answer.status == 400
    assert answer.body["code"] == "invalid_url"
