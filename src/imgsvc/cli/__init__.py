"""The command line: serve (default), openapi, check, demo, keys, jobs, callbacks, usage and audit.

Imports wait until a command needs them: image processes import the program that
started them, and `--help` should be quick.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from imgsvc import __version__
from imgsvc.cli.options import (
    add_audit_options,
    add_callbacks_commands,
    add_config,
    add_jobs_commands,
    add_usage_options,
)
from imgsvc.cli.options_keys import add_keys_commands
from imgsvc.errors import ConfigurationError, ImgsvcError


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; the process ends with 0, or with 1 or 2 if it did not work."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
    except ConfigurationError as exc:
        _complain("The configuration cannot be used:", exc.problems)
        code = 2
    except ImgsvcError as exc:
        _complain("imgsvc had to stop:", [exc.message])
        code = 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = 130  # 128 and the signal's number, as shells have it
    except BrokenPipeError:  # `imgsvc openapi | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="imgsvc", description="Asynchronous image editing.")
    parser.add_argument("--version", action="version", version=f"imgsvc {__version__}")
    add_config(parser, default=None)
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the server (the default)")
    add_config(serve)
    serve.set_defaults(run=_serve)

    openapi = commands.add_parser("openapi", help="print the OpenAPI document")
    add_config(openapi)
    openapi.add_argument("--server-url", metavar="URL", help="where callers reach the server")
    openapi.add_argument("--full", action="store_true", help="all paths, not just the tools")
    openapi.set_defaults(run=_openapi)

    check = commands.add_parser("check", help="say what is wrong with the configuration")
    add_config(check)
    check.add_argument(
        "--connect", action="store_true", help="also try the storage and the image API"
    )
    check.add_argument("--callback-url", metavar="URL", help="also send this receiver a test")
    check.set_defaults(run=_check)

    demo = commands.add_parser(
        "demo",
        help="run the three tools end to end, on this machine",
        description="Runs the three tools end to end, with a server, a receiver and a folder of"
        " its own. Of the configuration it uses the OPENAI_ variables only.",
    )
    demo.add_argument("--keep", action="store_true", help="leave the server running")
    demo.add_argument("--yes", action="store_true", help="agree to what the image API will cost")
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="FOLDER",
        help="where to put the pictures (default: %(default)s)",
    )
    demo.set_defaults(run=_demo)

    keys = commands.add_parser("keys", help="make, list and end the keys of callers")
    add_keys_commands(keys)

    jobs = commands.add_parser("jobs", help="see, cancel or repeat the jobs of a running server")
    add_jobs_commands(jobs)

    callbacks = commands.add_parser("callbacks", help="deliver callbacks of a running server again")
    add_callbacks_commands(callbacks)

    usage = commands.add_parser("usage", help="see what a running server has spent on image APIs")
    add_usage_options(usage)

    audit = commands.add_parser("audit", help="see who did what on a running server")
    add_audit_options(audit)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    # Who rotates logs or secrets may send it at any time: it waits for `serve`, which answers it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})

    from imgsvc.config import load_settings, secret_values  # noqa: PLC0415
    from imgsvc.logs import configure_logging  # noqa: PLC0415
    from imgsvc.serve import serve  # noqa: PLC0415 - see the module's docstring

    settings = load_settings(arguments.config)
    configure_logging(settings.logs, secrets=secret_values(settings))
    asyncio.run(serve(settings))
    return 0


def _openapi(arguments: argparse.Namespace) -> int:
    import orjson  # noqa: PLC0415

    from imgsvc.config import load_settings  # noqa: PLC0415
    from imgsvc.web.openapi import document  # noqa: PLC0415
    from imgsvc.web.routes import rules_of  # noqa: PLC0415

    url, settings = arguments.server_url, load_settings(arguments.config)
    if url is None:
        server = settings.server
        scheme = "http" if server.tls_cert is None else "https"
        url = server.public_url or f"{scheme}://{server.host}:{server.port}"
    found = document(url, full=arguments.full, rules=rules_of(settings.auth))
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    print(text.decode(), flush=True)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from imgsvc.cli.check import check  # noqa: PLC0415

    return asyncio.run(
        check(arguments.config, connect=arguments.connect, callback_url=arguments.callback_url)
    )


def _demo(arguments: argparse.Namespace) -> int:
    from imgsvc.cli.demo import demo  # noqa: PLC0415

    if arguments.config is not None:
        raise ConfigurationError(["demo takes no --config: it has a configuration of its own"])

    return asyncio.run(demo(arguments.output, keep=arguments.keep, agreed=arguments.yes))


def _complain(title: str, problems: Sequence[str]) -> None:
    print(title, *(f"  - {problem}" for problem in problems), sep="\n", file=sys.stderr)
