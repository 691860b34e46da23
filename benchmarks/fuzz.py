"""Throws mutated input at all that reads untrusted bytes, until a time is over.

Each target has a process of its own, one after the other, with a share of the time. The
fuzzer, atheris, follows which lines of Python a new input reaches. All begins with the corpus
of the tests.

    make fuzz ARGS="--seconds 3600 --seed 1"
    python benchmarks/fuzz.py --targets url --seconds 60
    python benchmarks/fuzz.py --targets url --again fuzz-failures/url-crash-0a1b

The exit code is 1 if something was found: its input is saved in `fuzz-failures`, and what
runs it again is printed. A process ends by itself if an input takes 20 seconds or 2 GiB.
"""

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

FAILURES = Path("fuzz-failures")
NAMES = ("image", "body", "url", "prompt", "globs", "callback")
MOST_SECONDS, MOST_MEBIBYTES, MOST_BYTES = 20, 2048, 50_000
"""Of one input: its time, the memory of the process, its size."""

GRACE = 120
"""Seconds that a process may take to start and end besides its share."""


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["imgsvc", "PIL"]):
        targets = importlib.import_module("fuzz_targets")
    targets.become_image_process()
    target = targets.TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(target.seeds()):
            (Path(folder) / f"seed-{number:03}").write_bytes(data)
        options = {
            "max_total_time": seconds,
            "seed": seed,
            "timeout": MOST_SECONDS,
            "rss_limit_mb": MOST_MEBIBYTES,
            "max_len": MOST_BYTES,
            "artifact_prefix": f"{FAILURES}/{name}-",
            "print_final_stats": 1,
            "verbosity": 0,
        }
        arguments = [f"-{key}={value}" for key, value in options.items()]
        atheris.Setup([sys.argv[0], *arguments, folder], target.run)
        atheris.Fuzz()


def again(name: str, file: Path) -> None:
    """Run one input once more, without the fuzzer: its error comes through."""
    targets = importlib.import_module("fuzz_targets")
    targets.become_image_process()
    targets.TARGETS[name].run(file.read_bytes())
    print(f"{name}: nothing is wrong with {file}")


def fuzz_apart(name: str, seconds: int, seed: int) -> bool:
    """Fuzz one target in a process of its own; return whether nothing was found."""
    command = [sys.executable, __file__, "--inside", "--targets", name]
    command += ["--seconds", str(seconds), "--seed", str(seed)]
    before, began = set(FAILURES.iterdir()), monotonic()
    # libFuzzer ends the process at once, and whatever it has written stays.
    with tempfile.TemporaryDirectory(prefix="imgsvc-fuzz-") as folder:
        ended = subprocess.run(  # noqa: S603 - this program itself
            command,
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            errors="replace",
            timeout=seconds + GRACE,
            check=False,
        )
    lines = [line for line in ended.stdout.splitlines() if not line.startswith("INFO: ")]
    runs = [line.split()[-1] for line in lines if "executed_units" in line]
    found = sorted(set(FAILURES.iterdir()) - before)
    clean = ended.returncode == 0 and not found and bool(runs)
    what = "clean" if clean else "FAILED"
    print(
        f"{name:<9} {what:<7} {runs[0] if runs else '?':>9} inputs in {monotonic() - began:.0f} s",
        flush=True,
    )
    if not clean:
        print(*lines[-40:], sep="\n")
    for file in found:
        print(f"  again: {sys.executable} {__file__} --targets {name} --again {file}")
    return clean


def main() -> None:
    """Read the options and fuzz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--targets", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--again", type=Path, help="an input to run once, with one target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.again:
        again(options.targets[0], options.again)
    elif options.inside:
        fuzz(options.targets[0], options.seconds, options.seed)
    else:
        FAILURES.mkdir(exist_ok=True)
        share = max(1, options.seconds // len(options.targets))
        clean = [fuzz_apart(name, share, options.seed) for name in options.targets]
        sys.exit(not all(clean))


if __name__ == "__main__":
    main()
