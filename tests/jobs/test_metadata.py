from imgsvc.imaging.encoded import EncodedImage
from imgsvc.imaging.formats import ImageFormat
from imgsvc.jobs.metadata import result_metadata
from imgsvc.providers import EditResult
from imgsvc.storage.metadata import check_metadata
from standins.pictures import picture

IMAGE = EncodedImage(format=ImageFormat.PNG, content=picture())


def test_a_fallback_and_its_reason_are_told() -> None:
    by_another = EditResult(image=IMAGE, provider="local", fallback_reason="provider_unreachable")
    assert result_metadata("1", by_another, source_key="in/a.png") == {
        "job-id": "1",
        "source-key": "in/a.png",
        "provider": "local",
        "fallback": "true",
        "fallback-reason": "provider_unreachable",
    }


def test_names_and_keys_of_any_kind_are_safe_in_headers() -> None:
    odd = EditResult(image=IMAGE, provider="openai", model="m 1\r\nx-amz-acl: public-read")
    metadata = result_metadata("1", odd, source_key="ü b\n\udcff.png" + "é" * 500)
    assert check_metadata(metadata) == metadata
    assert metadata["model"] == "m%201%0D%0Ax-amz-acl:%20public-read"
    assert metadata["source-key"].startswith("%C3%BC%20b%0A%3F.png%C3%A9")
