"""How a run was started: its command, commit, time and library versions, as run.json records them."""

import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

# Options whose values differ by machine: those of PLACES are not recorded, of the others the names of files and folders.
PLACES = {"--data-root", "--models-dir", "--judges-dir", "--inception-weights", "--out"}


NAMED = {"--data", "--groups"}


def now() -> str:
    """Return the current time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit() -> str:
    """Return the commit of the source tree, with "+changes" where files differ from it, or "unknown" outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+changes"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def command() -> str:
    """Return the command line that started this process, without what differs by machine: where things are."""
    program = Path(sys.argv[0])
    kept = ["oddglyph-train" if program.name == "cli.py" else program.name]  # python -m training.cli, torchrun
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option in PLACES:
            value = value or next(arguments, "")
        elif option in NAMED:
            kept += [option, Path(value or next(arguments, "")).resolve().name]
        else:
            kept.append(argument)
    return shlex.join(kept)


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the numbers."""
    return {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow", "onnx", "scikit-learn")}
