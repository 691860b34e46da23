import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import ProviderBadAnswer
from imgsvc.providers import cutting
from imgsvc.providers.openai.answer import Answer, AnswerReader

USAGE = {"input_tokens": 3, "output_tokens": 5}


def read(*chunks: bytes) -> Answer:
    reader = AnswerReader()
    for chunk in chunks:
        reader.feed(chunk)
    return reader.close()


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(data[start : start + size])
        start += size
    return [*chunks, data[start:]]


@given(
    picture=st.binary(min_size=1, max_size=200),
    sizes=st.lists(st.integers(0, 40), max_size=30),
    indent=st.sampled_from([None, 1]),
    prompt=st.text(max_size=20),
)
def test_the_picture_and_its_usage_come_out_however_the_answer_is_cut(
    picture: bytes, sizes: list[int], indent: int | None, prompt: str
) -> None:
    text = base64.b64encode(picture)
    document = {
        "created": 1,
        "data": [{"revised_prompt": f'{prompt} "b64_json":"', "b64_json": text.decode()}],
        "usage": USAGE,
    }
    body = json.dumps(document, indent=indent).encode()

    assert read(*split(body, sizes)) == Answer(base64=text, usage=USAGE)


@given(st.lists(st.one_of(st.binary(max_size=50), st.just(b'{"data":[{"b64_json":"')), max_size=6))
def test_any_bytes_give_an_answer_or_a_bad_answer(chunks: list[bytes]) -> None:
    try:
        answer = read(*chunks)
    except ProviderBadAnswer:
        return
    assert base64.b64encode(base64.b64decode(answer.base64, validate=True))


@pytest.mark.parametrize("escaped", [rb"\/+\u002b", rb"\u002f\u002B\/"])
def test_slashes_and_pluses_may_be_json_escapes(escaped: bytes) -> None:
    answer = read(b'{"data":[{"b64_json":"AA' + escaped + b'=="}]}'.replace(b"==", b"AAA"))
    assert base64.b64decode(answer.base64, validate=True)
    assert b"\\" not in answer.base64


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"<html>Welcome</html>", "not JSON"),
        (b'{"data":[{"b64_json":"AAAA"}]', "cut short"),
        (b'{"data":[{"b64_json":"AAAA', "cut short"),
        (b"[]", "no image"),
        (b'{"data":[]}', "no image"),
        (b'{"data":[{}]}', "no image"),
        (b'{"data":[{"b64_json":null}]}', "no image"),
        (b'{"data":[{"b64_json":""}]}', "no image"),
        (b'{"b64_json":"AAAA"}', "no image"),
        (b'{"data":[{"url":"https://example.com/a.png"}]}', "b64_json"),
        (b'{"data":[{"b64_json":"not base64!"}]}', "invalid base64"),
        (b'{"data":[{"b64_json":"AAAAA"}]}', "invalid base64"),
        (b'{"data":[{"b64_json":"AA==AAAA"}]}', "invalid base64"),
        (b'{"data":[{"b64_json":"A==="}]}', "invalid base64"),
        (b'{"data":[{"b64_json":"AAA\\"}]}', "invalid base64"),
        (b'{"data":[{"b64_json":"AAAA\\nAAAA"}]}', "invalid base64"),
        (b'{"data":[{"b64_json":"AAAA\\q"}]}', "invalid base64"),
    ],
)
def test_an_answer_without_a_picture_says_what_it_is(body: bytes, words: str) -> None:
    with pytest.raises(ProviderBadAnswer, match=words):
        read(body)


@pytest.mark.parametrize("usage", [b"null", b"7", b"[]"])
def test_a_server_need_not_tell_its_usage(usage: bytes) -> None:
    assert read(b'{"data":[{"b64_json":"AAAA"}],"usage":' + usage + b"}").usage == {}


@pytest.mark.parametrize(
    ("limit", "head"),
    [("MAX_TEXT_BYTES", b'{"x":"'), ("MAX_PICTURE_BYTES", b'{"data":[{"b64_json":"')],
)
def test_an_answer_that_never_ends_is_given_up(
    limit: str, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, limit, 1000)
    reader = AnswerReader()
    reader.feed(head)
    reader.feed(b"A" * 900)
    with pytest.raises(ProviderBadAnswer, match="too large"):
        reader.feed(b"A" * 200)
