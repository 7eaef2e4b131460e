"""The help of both commands and all their subcommands as plain text, 100 columns wide.

`python tests/help_pages.py` compares docs/cli/ with it; `--write` writes docs/cli/.
"""

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

sys.path[0] = str(Path(__file__).parents[1])  # not tests/, whose folders are called like the packages

import service.cli  # noqa: E402
import training.cli  # noqa: E402

PAGES = Path(__file__).parents[1] / "docs" / "cli"
COMMANDS = {"oddglyph": service.cli.app, "oddglyph-train": training.cli.app}
WIDTH = 100
REPAIR = "run `python tests/help_pages.py --write` and commit docs/cli/"


def page(name: str) -> str:
    """Return the help of the command `name` and, after it, of each subcommand."""
    return "\n\n".join(sections(typer.main.get_command(COMMANDS[name]), name)) + "\n"


def sections(command: Any, name: str, parent: Any = None) -> Iterator[str]:
    command.rich_markup_mode = None  # no frames and no colour
    context = command.context_class(command, info_name=name, parent=parent, terminal_width=WIDTH)
    yield f"$ {context.command_path} --help\n{command.get_help(context)}"
    for subname, subcommand in getattr(command, "commands", {}).items():
        yield from sections(subcommand, subname, context)


def differences() -> str:
    """Return how docs/cli/ differs from the help; nothing if it does not."""
    lines: list[str] = []
    for name in COMMANDS:
        path = PAGES / f"{name}.txt"
        written = path.read_text() if path.exists() else ""
        lines += difflib.unified_diff(written.splitlines(), page(name).splitlines(), str(path), "--help", lineterm="")
    return "\n".join(lines)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGES.mkdir(exist_ok=True)
        for name in COMMANDS:
            (PAGES / f"{name}.txt").write_text(page(name))
    elif found := differences():
        sys.exit(f"{found}\n{REPAIR}")
