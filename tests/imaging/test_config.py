import pytest
from pydantic import ValidationError

from imgsvc.imaging import config
from imgsvc.imaging.config import ImagesConfig
from imgsvc.imaging.formats import ImageFormat


def test_heic_is_taken_by_default_where_its_extra_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ImagesConfig().allowed == list(ImageFormat)
    monkeypatch.setattr(config, "HEIC_INSTALLED", False)
    assert ImageFormat.HEIC not in ImagesConfig().allowed


def test_heic_without_its_extra_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "HEIC_INSTALLED", False)
    with pytest.raises(ValidationError, match=r"imgsvc\[heic\]"):
        ImagesConfig(allowed=[ImageFormat.HEIC])


@pytest.mark.parametrize(
    "settings",
    [{"processes": 0}, {"max_bytes": 0}, {"allowed": []}, {"max_memory_bytes": 1}, {"typo": 1}],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ImagesConfig.model_validate(settings)
