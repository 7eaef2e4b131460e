"""docs/cli/ shows the current help of both commands, and every help ends with examples that the command understands."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import service.cli
import training.cli

APPS = {"oddglyph": service.cli.app, "oddglyph-train": training.cli.app}


def subcommands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, subcommand in getattr(command, "commands", {}).items():
        yield from subcommands(subcommand, f"{name} {child}")


COMMANDS = {
    name: command for root, app in APPS.items() for name, command in subcommands(typer.main.get_command(app), root)
}


def test_the_pages_are_the_help():
    script = Path(__file__).with_name("help_pages.py")
    compared = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_examples_that_are_understood(name: str):
    first, *examples = (COMMANDS[name].epilog or "").split("\n\n")
    assert first == "Examples:"
    examples = [example for example in examples if example.startswith(f"{name} ")]
    assert examples
    for example in examples:
        *words, command = shlex.split(example), COMMANDS[name.split()[0]]
        arguments = words[0][1:]
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        command.make_context(example, arguments)
