"""Ways to configure the service in a test."""

from pathlib import Path

import pytest

from imgsvc.config import load_settings
from imgsvc.errors import ConfigurationError

S3 = {
    "COS_ENDPOINT": "https://s3.example.com",
    "COS_BUCKET": "images",
    "COS_ACCESS_KEY_ID": "key-id",
    "COS_SECRET_ACCESS_KEY": "key-secret",
}


class Environment:
    """Sets variables, and works in a folder, for as long as one test runs."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self._patch = patch
        patch.chdir(folder)

    def __call__(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)


def toml(text: str, path: str = "imgsvc.toml") -> Path:
    file = Path(path)
    file.write_text(text)
    return file


def secret_file(name: str, text: str) -> None:
    Path("secrets").mkdir(exist_ok=True)
    Path("secrets", name).write_text(text)


def problems(config_file: Path | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config_file)
    return list(caught.value.problems)
