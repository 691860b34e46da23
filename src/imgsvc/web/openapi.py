"""The OpenAPI document, one for agents and one for everybody else."""

from typing import Any
from urllib.parse import urlsplit

from imgsvc import __version__
from imgsvc.errors import ConfigurationError
from imgsvc.web.auth.rules import Rules
from imgsvc.web.openapi_admin import ADMIN_ANSWERS, ADMIN_REQUESTS, admin_paths
from imgsvc.web.openapi_browsers import browser_paths
from imgsvc.web.openapi_everywhere import everywhere
from imgsvc.web.openapi_jobs import AGENT_JOB_ANSWERS, JOB_ANSWERS, job_paths
from imgsvc.web.openapi_schemas import component_schemas
from imgsvc.web.openapi_security import protected
from imgsvc.web.openapi_service import SERVICE_ANSWERS, service_paths
from imgsvc.web.openapi_tools import PREVIEWS, TOOLS
from imgsvc.web.schemas import Accepted, Problem

_ANSWERS = (*PREVIEWS, *JOB_ANSWERS, *SERVICE_ANSWERS, *ADMIN_ANSWERS)
"""Those that are in the full document alone."""

_EXPECTED = (
    "give an absolute http or https URL without variables, query and slash at its end,"
    " like https://images.example.com"
)


def document(server_url: str, *, full: bool = False, rules: Rules | None = None) -> dict[str, Any]:
    """Return the OpenAPI 3.0.3 document of the server that callers reach at server_url.

    It holds the three tools and what an agent can do with their jobs, and nothing else,
    because watsonx Orchestrate makes a tool of every operation that it finds; full adds
    the rest. With rules it says who may do what, and how callers prove who they are.
    Raises ConfigurationError for a server_url that is not absolute, or that the importer
    would not take.
    """
    _check(server_url)
    paths = {tool.path: {"post": tool.operation(full=full)} for tool in TOOLS}
    paths |= job_paths(full=full)
    if full:
        paths = everywhere(paths | service_paths() | admin_paths() | browser_paths())
    plain = {
        "openapi": "3.0.3",
        "info": {
            "title": "imgsvc",
            "version": __version__,
            "description": (
                "Edits images for agents and workflows: an accepted request is answered at once,"
                " and one callback brings the result."
            ),
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "servers": [{"url": server_url}],
        "paths": paths,
        "components": {
            "schemas": component_schemas(
                requests=[
                    *(tool.request for tool in TOOLS),
                    *(ADMIN_REQUESTS if full else ()),
                ],
                answers=[
                    Accepted,
                    Problem,
                    *(tool.callback for tool in TOOLS),
                    *(_ANSWERS if full else AGENT_JOB_ANSWERS),
                ],
            )
        },
    }
    return plain if rules is None else protected(plain, rules)


def _check(server_url: str) -> None:
    try:
        parts = urlsplit(server_url)
        usable = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and not parts.query
            and not parts.fragment
            and parts.port != 0  # reading it also finds a port that is no number
            and not server_url.endswith("/")
            and not any(char in "{}\\" or char.isspace() for char in server_url)
        )
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError([f"the server URL {server_url!r} cannot be used: {_EXPECTED}"])
