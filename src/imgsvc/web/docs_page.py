"""The page at /docs: Swagger UI from the package swagger-ui-bundle, with no outside request."""

from types import MappingProxyType

from aiohttp import web
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]  # the package carries no types

from imgsvc.errors import NotFound

ASSETS = MappingProxyType(
    {
        "swagger-ui.css": "text/css; charset=utf-8",
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "favicon-32x32.png": "image/png",
    }
)
"""The files of the bundle that are served, and their media types."""

# All paths are relative, so that the page also works below a gateway's prefix.
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>imgsvc: interface</title>
  <link rel="icon" type="image/png" href="docs/assets/favicon-32x32.png">
  <link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <noscript>This page needs JavaScript. The document is at openapi.json?full=1.</noscript>
  <script src="docs/assets/swagger-ui-bundle.js"></script>
  <script src="docs/init.js"></script>
</body>
</html>
"""

# validatorUrl: without it, Swagger UI sends the document to a public validator.
_INIT = """\
SwaggerUIBundle({
  url: "openapi.json?full=1",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  validatorUrl: null,
});
"""

_HEADERS = MappingProxyType(
    {
        # Swagger UI has icons in data URLs.
        "Content-Security-Policy": (
            "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
            " frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
)


async def page(_request: web.Request) -> web.Response:
    """Answer with the page."""
    return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS)


async def init_script(_request: web.Request) -> web.Response:
    """Answer with the script that starts Swagger UI; a strict policy allows no inline one."""
    return web.Response(text=_INIT, content_type="text/javascript", headers=_HEADERS)


async def asset(request: web.Request) -> web.FileResponse:
    """Answer with a file of the bundle; raise NotFound for any that the page does not need."""
    name = request.match_info["name"]
    if name not in ASSETS:
        raise NotFound
    return web.FileResponse(
        swagger_ui_path / name,
        headers={
            "Content-Type": ASSETS[name],
            "Cache-Control": "public, max-age=3600",
            "X-Content-Type-Options": "nosniff",
        },
    )


def routes() -> list[web.RouteDef]:
    """Return the page's paths."""
    return [
        web.get("/docs", page),
        web.get("/docs/init.js", init_script),
        web.get("/docs/assets/{name}", asset),
    ]
