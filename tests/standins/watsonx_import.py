"""IBM's own importer of tools and agents for watsonx Orchestrate, as a program.

In a process of its own: importing the package gives log levels other names.

    python watsonx_import.py tools OPENAPI.json MADE.json
    python watsonx_import.py agent AGENT.yaml MADE.json

writes what the importer has made of the first file to the second, as JSON. (The package
prints on standard output what it likes.)
"""

import asyncio
import json
import sys
from pathlib import Path

from ibm_watsonx_orchestrate.agent_builder.agents.types import (  # type: ignore[import-untyped]  # the package carries no types
    AgentSpec,
)
from ibm_watsonx_orchestrate.agent_builder.tools.openapi_tool import (  # type: ignore[import-untyped]  # as above
    create_openapi_json_tools_from_uri,
)
from ibm_watsonx_orchestrate.utils.utils import (  # type: ignore[import-untyped]  # as above
    yaml_safe_load,
)


def main() -> None:
    kind, file, made_file = sys.argv[1:]
    if kind == "tools":
        tools = asyncio.run(create_openapi_json_tools_from_uri(file))
        made = [tool.__tool_spec__.model_dump(mode="json") for tool in tools]
    else:
        with open(file, encoding="utf-8") as text:  # noqa: PTH123 - the importer's own way
            made = AgentSpec.model_validate(yaml_safe_load(text) | {"llm": "any"}).model_dump(
                mode="json"
            )
    Path(made_file).write_text(json.dumps(made), encoding="utf-8")


if __name__ == "__main__":
    main()
