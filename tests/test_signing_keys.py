import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgsvc.errors import ConfigurationError
from imgsvc.signing_keys import load_signing_key


def test_a_signing_key_is_made_once_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "signing.key"
    signing_key = load_signing_key(path)
    assert len(signing_key) == 32
    assert load_signing_key(path) == signing_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_several_that_make_the_signing_key_at_once_agree_on_one(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_signing_key, [path] * 8))
    assert len(keys) == 1


def test_a_damaged_signing_key_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match=r"signing\.key.*damaged"):
        load_signing_key(path)


def test_a_data_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="data_dir") as caught:
        load_signing_key(tmp_path / "file" / "signing.key")
    assert str(tmp_path) not in str(caught.value)
