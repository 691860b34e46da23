import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import ProviderBadAnswer
from imgsvc.providers import cutting
from imgsvc.providers.openai.answer import Answer
from imgsvc.providers.openai.events import StreamEvent, StreamReader
from providers.test_answer import USAGE, split

PARTIAL = "image_edit.partial_image"
COMPLETED = "image_edit.completed"
Seen = tuple[str, dict[str, Any], bytes]


def read(*chunks: bytes) -> list[StreamEvent]:
    reader = StreamReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events + list(reader.close())


def seen(events: list[StreamEvent]) -> list[Seen]:
    return [(event.name, dict(event.document), event.picture.base64()) for event in events]


def event(name: str, text: bytes, **fields: Any) -> bytes:
    document = {"type": name, "b64_json": text.decode(), **fields}
    return f"event: {name}\ndata: {json.dumps(document)}\n\n".encode()


PICTURES = st.binary(max_size=60).map(base64.b64encode)
LINES = st.sampled_from(
    [b": still there", b":", b"id: 7", b"retry: 1000", b"data", b"x" * 300, b"dat", b"event"]
)


@given(
    pictures=st.lists(PICTURES, max_size=4),
    noise=st.lists(LINES, max_size=4),
    indent=st.sampled_from([None, 1]),
    names=st.sampled_from(["event", "type", "both"]),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    ends_well=st.booleans(),
    sizes=st.lists(st.integers(0, 40), max_size=60),
)
def test_the_events_come_out_however_the_stream_is_cut_and_its_lines_end(
    pictures: list[bytes],
    noise: list[bytes],
    indent: int | None,
    names: str,
    line_end: bytes,
    ends_well: bool,
    sizes: list[int],
) -> None:
    lines: list[bytes] = [*noise]
    expected: list[Seen] = []
    for number, text in enumerate(pictures):
        document = {"prompt": f'é "b64_json":" {number}\n', "b64_json": text.decode()}
        if names != "event":
            document["type"] = PARTIAL
        data = json.dumps(document, indent=indent, ensure_ascii=False)
        lines += [f"event: {PARTIAL}".encode()] if names != "type" else []
        lines += [*noise, *(f"data: {line}".encode() for line in data.splitlines()), b""]
        expected.append((PARTIAL, document | {"b64_json": ""}, text))
    body = b"".join(line + line_end for line in lines)
    if not ends_well:
        body = body.rstrip(b"\r\n")

    assert seen(read(*split(body, sizes))) == expected


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from([b"data:", b"\n", b"\r", b'{"b64_json":"', b'AAAA"}', b"event: x"]),
        ),
        max_size=12,
    )
)
def test_any_bytes_give_events_or_a_bad_answer(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    try:
        events = seen(read(*chunks))
    except ProviderBadAnswer:
        with pytest.raises(ProviderBadAnswer):
            seen(read(whole))
    else:
        assert events == seen(read(whole))


def test_the_result_has_its_usage() -> None:
    [completed] = read(event(COMPLETED, b"AAAA", usage=USAGE))
    assert completed.is_completed
    assert not completed.is_partial
    assert completed.answer() == Answer(base64=b"AAAA", usage=USAGE)


def test_a_partial_image_is_given_as_a_file() -> None:
    [partial] = read(event(PARTIAL, base64.b64encode(b"a file")))
    assert partial.is_partial
    assert not partial.is_completed
    assert partial.file() == b"a file"


@pytest.mark.parametrize("name", [PARTIAL, COMPLETED])
def test_an_event_without_a_picture_is_neither_partial_nor_completed(name: str) -> None:
    for body in (event(name, b""), b'data: {"type":"%b","b64_json":null}\n\n' % name.encode()):
        [empty] = read(body)
        assert (empty.is_partial, empty.is_completed) == (False, False)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('event: error\ndata: {"error": {"code": "a"}}', {"code": "a"}),
        ('data: {"error": {"code": "a"}}', {"code": "a"}),
        ('data: {"type": "error", "code": "a"}', {"type": "error", "code": "a"}),
        ('event: error\ndata: {"message": "no"}', {"message": "no"}),
        ('data: {"error": "no"}', {}),
        ('data: {"error": null}', None),
        ('data: {"type": "anything.else"}', None),
    ],
)
def test_an_error_is_known_by_its_name_or_by_its_field(body: str, error: Any) -> None:
    [found] = read(f"{body}\n\n".encode())
    assert found.error == error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"data: [DONE]\n\n", "not JSON"),
        (b"data: [1]\n\n", "no object"),
        (b"data: \n\n", "not JSON"),
        (b'data: {"b64_json":"AAAA', "cut short"),
        (b'data: {"b64_json":"AAAA"\n\n', "cut short"),
    ],
)
def test_what_is_no_event_says_so(body: bytes, words: str) -> None:
    with pytest.raises(ProviderBadAnswer, match=words):
        read(body)


def test_what_follows_an_event_does_not_spoil_it() -> None:
    events = StreamReader().feed(event(COMPLETED, b"AAAA") + b"data: [DONE]\n\n")
    assert next(events).is_completed


@pytest.mark.parametrize(
    ("limit", "head"), [("MAX_TEXT_BYTES", b'{"x":"'), ("MAX_PICTURE_BYTES", b'{"b64_json":"')]
)
def test_an_event_that_never_ends_is_given_up(
    limit: str, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, limit, 1000)
    reader = StreamReader()
    assert len(list(reader.feed(event(PARTIAL, b"A" * 800) * 3))) == 3  # each counts for itself
    list(reader.feed(b"data: " + head + b"A" * 900))
    with pytest.raises(ProviderBadAnswer, match="too large"):
        list(reader.feed(b"A" * 200))


def test_comments_may_go_on_for_ever() -> None:
    reader = StreamReader()
    for _ in range(1000):
        assert not list(reader.feed(b": " + bytes(10_000) + b"x"))
    assert len(reader._line) <= 200  # noqa: SLF001 - what is kept shows nowhere else
