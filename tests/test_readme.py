"""The README's commands, run as a reader would: they do what it shows."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from servers import serving

import training.cli

REPOSITORY = Path(__file__).parents[1]
CONSOLE = re.findall(r"```console\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
SHOWN = re.findall(r"^\$ (.*)\n((?:[^$\n].*\n)*)", "".join(CONSOLE), re.MULTILINE)
COMMANDS = dict(SHOWN)


def shown(start: str) -> tuple[str, str]:
    """Return the one command that begins with `start`, and the output that the README shows for it."""
    (found,) = [(command, output) for command, output in SHOWN if command.startswith(start)]
    return found


@pytest.mark.parametrize("start", ["oddglyph score docs", "oddglyph score --model all-mnist"])
def test_scores_of_the_examples_are_those_shown(start: str):
    command, output = shown(start)
    arguments = [sys.executable, "-m", "service.cli", *shlex.split(command)[1:]]
    run = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    *expected, summary = output.splitlines()
    for row, line in zip(run.stdout.splitlines(), expected, strict=True):
        same(row.split(","), line.split(","))
    assert run.stderr.startswith(summary.split(", images/s")[0])


def test_curl_answers_what_is_shown(tmp_path: Path):
    command, output = shown("curl -F")
    names = re.findall(r"images=@(\S+)", command)
    url = command.split()[-1].removeprefix("http://127.0.0.1:3000")
    with serving(tmp_path) as client:
        answer = client.post(
            url, files=[("images", (Path(name).name, (REPOSITORY / name).read_bytes())) for name in names]
        )
    answered, expected = answer.json(), json.loads(output)
    for result, wanted in zip(answered.pop("results"), expected.pop("results"), strict=True):
        same([str(value) for value in result.values()], [str(value) for value in wanted.values()])
    assert answered == expected


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_has_the_targets_shown(command: str):
    target = command.split("#", maxsplit=1)[0].split()[1]
    subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, check=True)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("oddglyph-train ")])
def test_training_commands_are_understood(command: str):
    arguments = shlex.split(command, comments=True)[1:]
    subcommand = typer.main.get_command(training.cli.app).commands[arguments[0]]
    subcommand.make_context(arguments[0], arguments[1:])


def same(found: list[str], shown: list[str]) -> None:
    """Compare words by letters and numbers by value: another machine rounds otherwise."""
    for ours, theirs in zip(found, shown, strict=True):
        if re.fullmatch(r"-?\d+\.\d+", theirs):
            assert float(ours) == pytest.approx(float(theirs), rel=1e-3)
        else:
            assert ours == theirs
