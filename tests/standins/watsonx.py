"""What IBM's importer for watsonx Orchestrate makes of a file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def watsonx_import(kind: str, file: Path) -> Any:
    """Run `watsonx_import.py` on a file of this kind and return what it has made."""
    program = Path(__file__).with_name("watsonx_import.py")
    made = file.with_suffix(".made")
    done = subprocess.run(
        [sys.executable, str(program), kind, str(file), str(made)],
        cwd=file.parent,
        env={**os.environ, "HOME": str(file.parent)},  # the package writes a file there
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(made.read_bytes())
