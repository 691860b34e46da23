import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgsvc.errors import ConfigurationError
from imgsvc.jobs import hold, open_blobs
from jobs.parts import files
from standins.disk import full_disk

HOLD_FOLDER = """
import asyncio, pathlib, sys
from imgsvc.jobs import hold, open_blobs

async def hold_it(data_dir):
    with hold(data_dir):
        async with open_blobs(data_dir) as blobs:
            await blobs.put([b"left behind"], content_type="text/plain")
            print("held", flush=True)
            await asyncio.Event().wait()

asyncio.run(hold_it(pathlib.Path(sys.argv[1])))
"""


@contextmanager
def holding_process(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds the folder and has a blob in it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_FOLDER, str(data_dir)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


async def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with holding_process(tmp_path / "data") as holder:
        with pytest.raises(ConfigurationError) as caught, hold(tmp_path / "data"):
            raise AssertionError("unreachable")

        assert f"in use by process {holder.pid}" in caught.value.message
        kept = tmp_path / "data" / "spool" / "blobs"
        assert [path.read_bytes() for path in files(kept)] == [b"left behind"]


async def test_a_killed_process_releases_the_folder_and_its_blobs_stay(
    tmp_path: Path, kept: Path, scratch: Path
) -> None:
    with holding_process(tmp_path / "data") as holder:
        holder.kill()
        holder.wait()
    (scratch / "half").write_bytes(b"half")
    assert len(files(kept)) == 1

    with hold(tmp_path / "data"):
        async with open_blobs(tmp_path / "data"):
            assert [path.read_bytes() for path in files(kept)] == [b"left behind"]
            assert files(scratch) == []
        assert (tmp_path / "data" / "lock").read_text() == f"{os.getpid()}\n"


async def test_the_folder_can_be_opened_again_once_it_is_closed(tmp_path: Path) -> None:
    refs = []
    for _ in range(2):
        with hold(tmp_path / "data"):
            async with open_blobs(tmp_path / "data") as blobs:
                refs.append(await blobs.put([b"x"], content_type="text/plain"))
    assert [blobs.path(ref).read_bytes() for ref in refs] == [b"x", b"x"]


async def test_what_else_is_in_the_data_folder_stays(tmp_path: Path) -> None:
    other = tmp_path / "data" / "files" / "output" / "a.png"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"picture")

    async with open_blobs(tmp_path / "data"):
        assert other.read_bytes() == b"picture"


def test_a_new_data_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    with hold(tmp_path / "data"):
        pass
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "in_the_way", ["data", "data/lock/folder", "data/spool", "data/spool/blobs"]
)
async def test_a_folder_that_cannot_be_written_is_a_configuration_error(
    tmp_path: Path, in_the_way: str
) -> None:
    # A file where a folder should be, or the other way round, stops root too.
    path = tmp_path / in_the_way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")

    with pytest.raises(ConfigurationError, match=r"data_dir: the folder .* cannot be written"):
        await open_and_close(tmp_path / "data")


async def open_and_close(data_dir: Path) -> None:
    with hold(data_dir):
        async with open_blobs(data_dir):
            pass


async def test_a_disk_that_is_full_at_the_start_is_a_configuration_error(tmp_path: Path) -> None:
    with (
        full_disk(0),
        pytest.raises(ConfigurationError, match="cannot be written"),
        hold(tmp_path / "data"),
    ):
        raise AssertionError("unreachable")
