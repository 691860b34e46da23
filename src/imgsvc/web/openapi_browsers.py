"""The operations that lead browsers to the page of the interface, and bring what it consists of."""

from typing import Any

from imgsvc.errors import NotFound
from imgsvc.web.docs_page import ASSETS
from imgsvc.web.openapi_parts import problem_answers


def browser_paths() -> dict[str, Any]:
    """Return the paths that nothing but a browser asks for."""
    return {
        "/": {"get": _FRONT_PAGE},
        "/docs/init.js": {"get": _SCRIPT},
        "/docs/assets/{name}": {"get": _ASSET},
    }


def _bytes_of(media_types: list[str]) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {media_type: {"schema": schema} for media_type in media_types}


_FRONT_PAGE = {
    "operationId": "getFrontPage",
    "summary": "Find the page of the interface",
    "description": "For people who type the name of the server.",
    "tags": ["Interface"],
    "responses": {
        "302": {
            "description": "The page is elsewhere.",
            "headers": {
                "Location": {
                    "description": "Where.",
                    "required": True,
                    "schema": {"type": "string"},
                    "example": "/docs",
                }
            },
        }
    },
}

_SCRIPT = {
    "operationId": "getDocsScript",
    "summary": "Get the script of the page",
    "description": "It starts Swagger UI.",
    "tags": ["Interface"],
    "responses": {
        "200": {"description": "The script.", "content": _bytes_of(["text/javascript"])},
    },
}

_ASSET = {
    "operationId": "getDocsAsset",
    "summary": "Get a file of the page",
    "description": "Swagger UI itself; nothing is fetched from elsewhere.",
    "tags": ["Interface"],
    "parameters": [
        {
            "name": "name",
            "in": "path",
            "required": True,
            "description": "The name of the file.",
            "schema": {"type": "string", "enum": list(ASSETS)},
            "example": "swagger-ui.css",
        }
    ],
    "responses": {
        "200": {
            "description": "The file.",
            "content": _bytes_of([each.partition(";")[0] for each in ASSETS.values()]),
        },
        **problem_answers(NotFound),
    },
}
