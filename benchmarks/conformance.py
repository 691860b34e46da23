"""Where the server and its full OpenAPI document disagree, as schemathesis finds it.

A server with authentication and the local engine alone; a token with every role, which no
route can revoke; all checks of schemathesis, in all its phases, but for what
`schemathesis.toml` leaves out, with the reason beside it. What callers name is called through
a forward proxy that refuses, so nothing leaves this machine. The exit code is that of
schemathesis.

    python benchmarks/conformance.py [--examples 20] [--seed 1] [--phases coverage ...]
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from time import time

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from imgsvc.web.auth.roles import Role
from programs import started_server
from standins.forward_proxy import forward_proxy
from standins.pictures import picture
from web.auth.issuing import AUDIENCE, ISSUER, Issuer

LIMIT = 1800.0  # seconds; the benchmark ends by itself
CONFIG = Path(__file__).with_name("schemathesis.toml")
DATA, KEYS = "data", "jwks.json"
PHASES = ("examples", "coverage", "fuzzing", "stateful")


def environment(folder: Path, proxy: str) -> dict[str, str]:
    """Return the variables of a server that is asked much, and calls nobody."""
    return {
        "IMGSVC_DATA_DIR": str(folder / DATA),
        "IMGSVC_SERVER__PORT": "0",
        "IMGSVC_AUTH__MODE": "api_key,jwt",
        "IMGSVC_AUTH__JWT_ISSUER": ISSUER,
        "IMGSVC_AUTH__JWT_AUDIENCE": AUDIENCE,
        "IMGSVC_AUTH__JWT_JWKS_FILE": str(folder / KEYS),
        # Thousands of wrong keys are tried on purpose, and 429 is no answer to them.
        "IMGSVC_AUTH__MAX_FAILURES": "1000",
        "IMGSVC_AUTH__FAILURE_WINDOW": "1",
        "IMGSVC_EGRESS__PROXY": proxy,
        "IMGSVC_CALLBACKS__SCHEDULE": "[0]",  # given up at once, so that streams of events end
    }


async def schemathesis(url: str, token: str, folder: Path, options: argparse.Namespace) -> int:
    """Run schemathesis, which prints what it finds, and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(CONFIG), "run", f"{url}/openapi.json?full=1"),
        *("--header", f"Authorization: Bearer {token}"),
        *("--checks", "all"),
        *("--max-examples", str(options.examples), "--seed", str(options.seed)),
        *("--phases", ",".join(options.phases)),
        *options.more,
        cwd=folder,  # it leaves files where it runs
    )
    return await process.wait()


async def main() -> None:
    """Read the options, and run it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=20, help="requests for an operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES)
    parser.add_argument("more", nargs="*", help="options for schemathesis, behind `--`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, issuer = Path(name), Issuer()
        (folder / KEYS).write_text(json.dumps({"keys": [issuer.public()]}))
        inputs = folder / DATA / "files" / "input" / "input"
        inputs.mkdir(parents=True)
        (inputs / "one.png").write_bytes(picture())
        async with asyncio.timeout(LIMIT), forward_proxy({}) as proxy:
            variables = environment(folder, proxy.url)
            async with started_server(variables) as server:
                token = issuer.token(sub="contract", scope=" ".join(Role), exp=time() + LIMIT)
                code = await schemathesis(server.url, token, folder, options)
    sys.exit(code)


if __name__ == "__main__":
    asyncio.run(main())
