from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import Command, Done
from imgsvc.cli import main
from standins.logs import logging_of_our_own


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Command]:
    """Yield a function that runs a command in an empty folder, with an event loop of its own.

    It does so in this process: another one would take seconds to start.
    """
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        return Done(code=ended.value.code, out=out, err=err)

    with logging_of_our_own():  # some commands configure it
        yield run
