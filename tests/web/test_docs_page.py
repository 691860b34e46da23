import re

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from imgsvc.web import docs_page
from imgsvc.web.middlewares import MIDDLEWARES

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    app = web.Application(middlewares=MIDDLEWARES)
    app.add_routes(docs_page.routes())
    return await aiohttp_client(app)


async def test_the_page_and_all_that_it_names_are_served_by_this_server(client: Client) -> None:
    answer = await client.get("/docs")
    assert answer.status == 200
    assert answer.content_type == "text/html"
    links = re.findall(r'(?:src|href)="([^"]*)"', await answer.text())
    assert len(links) == 4
    for link in links:
        assert re.fullmatch(r"docs/[\w./-]+", link), "relative, so that prefixes work"
        assert (await client.get(f"/{link}")).status == 200


async def test_the_page_shows_the_full_document_and_asks_no_validator(client: Client) -> None:
    answer = await client.get("/docs/init.js")
    assert answer.content_type == "text/javascript"
    script = await answer.text()
    assert 'url: "openapi.json?full=1"' in script
    assert "validatorUrl: null" in script


async def test_the_policy_of_the_page_allows_nothing_from_elsewhere(client: Client) -> None:
    answer = await client.get("/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy
    assert "script-src" not in policy
    assert "<script>" not in await answer.text()


@pytest.mark.parametrize(("name", "media_type"), docs_page.ASSETS.items())
async def test_assets_have_their_media_type(client: Client, name: str, media_type: str) -> None:
    answer = await client.get(f"/docs/assets/{name}")
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(await answer.read()) > 100


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "oauth2-redirect.html",
        "swagger-ui.js",
        "..%2F..%2F__init__.py",
        "%2Fetc%2Fpasswd",
    ],
)
async def test_no_other_file_is_served(client: Client, name: str) -> None:
    answer = await client.get(f"/docs/assets/{name}")
    assert answer.status == 404
    assert answer.content_type == "application/problem+json"


async def test_the_styles_need_no_file_that_is_not_served(client: Client) -> None:
    styles = await (await client.get("/docs/assets/swagger-ui.css")).text()
    assert not re.findall(r"url\((?![\"']?data:)", styles)
