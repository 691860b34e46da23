"""What the tests of refusals have in common."""

from typing import Any

from standins.pictures import as_base64, picture
from standins.service import Caller

PATHS = ("/process-image-async-b64", "/process-image-async", "/batch-process-images")
IMAGE = as_base64(picture())
PHOTO = {"prompt": "x", "image_base64": IMAGE}


def assert_problem(status: int, problem: Any, code: str) -> None:
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"urn:imgsvc:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"]
    members = {"type", "title", "status", "detail", "code", "request_id"}
    members |= {"errors", "state", "categories", "rule", "allowed"}
    assert set(problem) <= members


async def raw(
    caller: Caller, data: Any, path: str = PATHS[0], **headers: str
) -> tuple[int, Any, Any]:
    given = {"callbackUrl": caller.receiver.url, "Content-Type": "application/json"} | headers
    async with caller.session.post(caller.server.url + path, data=data, headers=given) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers
