import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.imaging.frames import count_gif_frames, count_tiff_frames
from standins.pictures import encoded, gradient


def animation(pillow_format: str, frames: int, **options: bool) -> io.BytesIO:
    pictures = [gradient("RGB", (20, 10 + number)).resize((20, 10)) for number in range(frames)]
    data = encoded(pictures[0], pillow_format, save_all=True, append_images=pictures[1:], **options)
    return io.BytesIO(data)


@pytest.mark.parametrize("frames", [1, 2, 30])
def test_gif_frames_are_counted(frames: int) -> None:
    assert count_gif_frames(animation("GIF", frames), 100) == frames


@pytest.mark.parametrize("big_tiff", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 30])
def test_tiff_frames_are_counted(frames: int, big_tiff: bool) -> None:
    assert count_tiff_frames(animation("TIFF", frames, big_tiff=big_tiff), 100) == frames


@pytest.mark.parametrize(
    ("pillow_format", "count"), [("GIF", count_gif_frames), ("TIFF", count_tiff_frames)]
)
def test_counting_stops_at_the_limit(
    pillow_format: str, count: Callable[[io.BytesIO, int], int]
) -> None:
    assert count(animation(pillow_format, 10), 4) == 4


def test_a_loop_of_tiff_directories_ends() -> None:
    looping = b"II*\x00\x08\x00\x00\x00" + b"\x00\x00" + b"\x08\x00\x00\x00"
    assert count_tiff_frames(io.BytesIO(looping), 100) == 1


@given(st.binary(max_size=200), st.sampled_from([b"GIF89a", b""]))
def test_any_bytes_have_a_number_of_gif_frames(tail: bytes, head: bytes) -> None:
    assert 0 <= count_gif_frames(io.BytesIO(head + tail), 5) <= 5


@given(
    st.binary(max_size=200),
    st.sampled_from([b"II*\x00\x08\0\0\0", b"MM\x00*\0\0\0\x08", b"II+\x00\x08\0\0\0", b"II+\0"]),
)
def test_any_bytes_have_a_number_of_tiff_frames(tail: bytes, head: bytes) -> None:
    assert 0 <= count_tiff_frames(io.BytesIO(head + tail), 5) <= 5
