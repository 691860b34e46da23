import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.errors import InvalidObjectKey
from imgsvc.storage.keys import (
    MAX_KEY_BYTES,
    BatchKeys,
    OutputName,
    check_key,
    is_result,
    normal_prefix,
    result_key,
    stem,
)

JOB = "6f1f7a1e-2a3f-4a57-9c0e-0d5c2f3b7a11"
SEGMENTS = st.one_of(
    st.sampled_from(["", ".", "..", "a", "b c", "é", "x" * 300, "manifest.json", "a_modified"]),
    st.sampled_from(["a_modified.png", "a_modified_2.png", "a_modified.jpg", "a_modified.webp_2"]),
    st.text(max_size=20),
)
NAMES = st.one_of(
    st.sampled_from(
        ["a.png", "a.jpg", "a_2.png", "a_modified_2.png", "画像.png", "", "manifest.json"]
    ),
    st.text(max_size=20),
)
INPUT_KEYS = st.builds(lambda folders, name: "/".join([*folders, name]), st.lists(SEGMENTS), NAMES)


class Batch(BatchKeys):
    """Remembers what it has named, as the record of jobs does."""

    def __init__(
        self, output_prefix: str = "output/", input_prefix: str = "input/", job_id: str = JOB
    ) -> None:
        super().__init__(output_prefix=output_prefix, job_id=job_id, input_prefix=input_prefix)
        self.named: list[OutputName] = []

    def reserve(self, input_key: str) -> str:
        self.named.append(self.name(input_key, self))
        return str(self.named[-1])

    def newest_copy(self, path: str) -> int:
        return max((name.copy for name in self.named if name.path == path), default=0)

    def has_folder(self, folder: str) -> bool:
        return any(str(name).startswith(f"{folder}/") for name in self.named)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("photo.png", "photo"),
        ("my photo.final.JPG", "my_photo.final"),
        ("dir/sub/photo.png", "photo"),
        ("C:\\Users\\me\\photo.png", "photo"),
        ("two  spaces.png", "two__spaces"),
        ("a(b)[c].png", "a_b_c"),
        ("naïve-ü.png", "na_ve"),
        ("__--photo--__.png", "photo"),
        ("画像.png", "image"),
        ("....png", "image"),
        ("", "image"),
        (None, "image"),
        ("../../etc/passwd", "passwd"),
        ("noextension", "noextension"),
        ("x" * 300 + ".png", "x" * 200),
        ("x" * 199 + "._.y.png", "x" * 199),
    ],
)
def test_a_stem_is_the_plain_name_of_the_file(filename: str | None, expected: str) -> None:
    assert stem(filename) == expected


@given(st.text())
def test_a_stem_is_a_plain_name_whatever_the_file_is_called(filename: str) -> None:
    check_key(stem(filename))
    assert stem(filename).isascii()
    assert stem(filename).strip("._-") == stem(filename)


def test_a_single_result_lies_in_the_folder_of_its_job() -> None:
    assert result_key(JOB, "my cat.jpeg", "png") == f"results/{JOB}/my_cat_modified.png"


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("", ""), ("/", ""), ("a", "a/"), ("/a//b", "a/b/"), ("a/b/", "a/b/")],
)
def test_a_prefix_has_single_slashes_and_one_at_its_end(prefix: str, expected: str) -> None:
    assert normal_prefix(prefix) == expected


@pytest.mark.parametrize(
    "key",
    [
        *("", "/a", "a/", "a//b", ".", "a/..", "../a", "a\0b", "a\nb", "\ud800"),
        *("x" * 256, "é" * 128, "a/" * 512 + "ab"),
    ],
)
def test_keys_that_are_no_plain_path_are_refused(key: str) -> None:
    with pytest.raises(InvalidObjectKey):
        check_key(key)


@pytest.mark.parametrize("key", ["a", "a b/ü.png", "...", "a/..b", "\\", "x" * 255, "é" * 127])
def test_keys_that_are_plain_paths_are_taken(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize(
    ("output_prefix", "input_prefix", "input_key", "expected"),
    [
        ("output/", "input/", "input/a.png", f"output/{JOB}/a_modified"),
        ("output", "input", "input/x y/ü/a.jpg", f"output/{JOB}/x y/ü/a_modified"),
        ("", "", "a.png", f"{JOB}/a_modified"),
        ("/out//put/", "/in", "in/b/a.png", f"out/put/{JOB}/b/a_modified"),
        ("output/", "input/", "elsewhere/a.png", f"output/{JOB}/elsewhere/a_modified"),
        ("output/", "input/", "input/../../a.png", f"output/{JOB}/__/__/a_modified"),
        ("output/", "input/", "input/./b\0//a.png", f"output/{JOB}/_/b_/a_modified"),
    ],
)
def test_an_output_keeps_the_folders_of_its_input(
    output_prefix: str, input_prefix: str, input_key: str, expected: str
) -> None:
    assert Batch(output_prefix, input_prefix).reserve(input_key) == expected


def reserve(keys: Batch, *names: str) -> list[str]:
    """Reserve for these inputs in turn; return the part of the keys below the job's folder."""
    return [keys.reserve(f"input/{name}").removeprefix(f"output/{JOB}/") for name in names]


def test_inputs_that_would_collide_get_numbers() -> None:
    inputs = ["a.jpg", "a.png", "a_modified_2", "b/a.png", "a.webp", "画.png", "像.png"]
    assert reserve(Batch(), *inputs) == [
        "a_modified",
        "a_modified_2",
        "a_modified_2_modified",
        "b/a_modified",
        "a_modified_3",
        "image_modified",
        "image_modified_2",
    ]


def test_a_folder_named_like_the_manifest_or_what_an_output_may_be_called_gets_a_number() -> None:
    inputs = [
        "a.png",
        "a_modified.png/x.png",
        "a_modified.png/y.png",
        "a_modified.jpg/x.png",
        "a_modified.webp/x.png",
        "manifest.json/z.png",
        "manifest.csv/z.png",
    ]
    assert reserve(Batch(), *inputs) == [
        "a_modified",
        "a_modified.png_2/x_modified",
        "a_modified.png_2/y_modified",
        "a_modified.jpg_2/x_modified",
        "a_modified.webp_2/x_modified",
        "manifest.json_2/z_modified",
        "manifest.csv_2/z_modified",
    ]


def test_a_folder_that_no_output_can_be_called_like_keeps_its_name() -> None:
    inputs = ["a.png", "a_modified/x.png", "a_modified.gif/x.png", "b/manifest.json/x.png"]
    assert reserve(Batch(), *inputs) == [
        "a_modified",
        "a_modified/x_modified",
        "a_modified.gif/x_modified",
        "b/manifest.json/x_modified",
    ]


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_an_output_that_may_be_called_like_a_folder_gets_a_number(extension: str) -> None:
    assert reserve(Batch(), f"a_modified.{extension}/x.png", "a.png") == [
        f"a_modified.{extension}/x_modified",
        "a_modified_2",
    ]


def test_the_manifests_lie_beside_the_outputs() -> None:
    assert Batch("out").manifest_key == f"out/{JOB}/manifest.json"
    assert Batch("out").table_key == f"out/{JOB}/manifest.csv"


@pytest.mark.parametrize("prefix", ["..", "a/../..", "x" * 600, "a\0", "\ud800"])
def test_an_output_prefix_that_leaves_the_bucket_or_is_too_long_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidObjectKey):
        Batch(prefix)


@given(st.lists(st.tuples(INPUT_KEYS, st.sampled_from(["png", "jpg", "webp"])), max_size=40))
def test_outputs_are_valid_apart_and_hold_no_file_that_is_also_a_folder(
    inputs: list[tuple[str, str]],
) -> None:
    keys = Batch("out/" + "p" * 200)
    outputs = [f"{keys.reserve(key)}.{extension}" for key, extension in inputs]
    outputs.append(keys.manifest_key)
    assert len(set(outputs)) == len(outputs)
    assert len({key.rpartition(".")[0] for key in outputs}) == len(outputs)
    folders = {key[:n] for key in outputs for n, character in enumerate(key) if character == "/"}
    assert not folders & set(outputs)
    for key in outputs:
        check_key(key)
        assert len(key.encode()) <= MAX_KEY_BYTES
        assert key.startswith("out/" + "p" * 200 + f"/{JOB}/")


@given(st.lists(INPUT_KEYS, max_size=20))
def test_the_same_inputs_get_the_same_names_again(inputs: list[str]) -> None:
    first, second = Batch(), Batch()
    for key in inputs:
        assert first.reserve(key) == second.reserve(key)


def test_a_thousand_inputs_of_one_name_are_numbered_in_turn() -> None:
    outputs = reserve(Batch(), *(f"{chr(0x4E00 + n)}.png" for n in range(1000)))
    assert outputs[-1] == "image_modified_1000"


@pytest.mark.parametrize(
    "key",
    [
        f"results/{JOB}/a_modified.png",
        f"output/{JOB}/a_modified_17.jpg",
        f"any/where/{JOB}/folders/kept/a.b_modified.webp",
        f"{JOB}/a_modified.png",
        f"{JOB}/manifest.json",
        f"output/{JOB}/manifest.json",
        f"output/{JOB}/manifest.csv",
    ],
)
def test_a_result_is_known_by_its_form(key: str) -> None:
    assert is_result(key)


@pytest.mark.parametrize(
    "key",
    [
        f"{JOB}/a.png",
        f"photos/{JOB}/IMG_0001.jpg",
        f"photos/{JOB}/unmodified.jpg",
        f"photos/{JOB}/_modified.png",
        f"photos/{JOB}/a_modified.png/b.png",
        f"photos/{JOB}/a_modified.tiff",
        f"photos/{JOB}/a_modified_x.png",
        f"photos/{JOB}/a_modified",
        f"photos/{JOB}/album/manifest.json",
        f"{JOB}_modified.png",
        f"x{JOB}/a_modified.png",
        f"{JOB[:-1]}/a_modified.png",
        "photos/a_modified.png",
        "a_modified.png",
        "manifest.json",
        "",
    ],
)
def test_what_only_resembles_a_result_is_none(key: str) -> None:
    assert not is_result(key)


@given(st.uuids(version=4), st.text(), st.lists(INPUT_KEYS, max_size=5))
def test_every_key_that_is_made_here_is_known_as_a_result(
    job_id: uuid.UUID, filename: str, inputs: list[str]
) -> None:
    keys = Batch("out", "", str(job_id))
    assert is_result(keys.manifest_key)
    assert is_result(keys.table_key)
    for extension in ("png", "jpg", "webp"):
        assert is_result(result_key(str(job_id), filename, extension))
        assert all(is_result(f"{keys.reserve(key)}.{extension}") for key in inputs)
