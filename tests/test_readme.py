"""The commands in the README give the output that the README shows."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import typer
from servers import serving

import training.cli

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
SHOWN = re.findall(r"^\$ (.*)\n((?:[^$\n].*\n)*)", "".join(CONSOLE), re.MULTILINE)
COMMANDS = dict(SHOWN)


HTTP_METHODS = {"get", "post", "put", "patch", "delete"}
HEALTH = {("GET", "/docs.json"), ("GET", "/livez"), ("GET", "/readyz")}  # absent from /docs.json


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the service as the README starts it, with the shipped models."""
    with serving(tmp_path_factory.mktemp("bentoml")) as client:
        yield client


def shown(start: str) -> tuple[str, str]:
    """Return the only command that begins with `start`, and its output in the README."""
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


def test_curl_answers_what_is_shown(client: httpx.Client):
    command, output = shown("curl -F")
    names = re.findall(r"images=@(\S+)", command)
    url = command.split()[-1].removeprefix("http://127.0.0.1:3000")
    files = [("images", (Path(name).name, (REPOSITORY / name).read_bytes())) for name in names]
    answer = client.post(url, files=files)
    answered, expected = answer.json(), json.loads(output)
    for result, wanted in zip(answered.pop("results"), expected.pop("results"), strict=True):
        same([str(value) for value in result.values()], [str(value) for value in wanted.values()])
    assert answered == expected


def routes_shown() -> set[tuple[str, str]]:
    """Return method and path of each route in the README's table. A path without a method has the previous method."""
    table = README.split("| route | answer |\n")[1].split("\n\n")[0]
    routes, method = set(), ""
    for row in table.splitlines():
        for cell in re.findall("`([^`]+)`", row.split("|")[1]):
            *methods, path = cell.split()
            method = methods[0] if methods else method
            routes.add((method, path))
    return routes


def test_the_table_of_routes_is_what_the_service_documents_and_its_health(client: httpx.Client):
    paths = client.get("/docs.json").json()["paths"]
    documented = {(method.upper(), path) for path, item in paths.items() for method in item if method in HTTP_METHODS}
    assert routes_shown() == documented | HEALTH
    assert [client.get(path).status_code for _, path in HEALTH] == [200] * len(HEALTH)


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
    """Compare numbers by value, since machines round differently, and everything else by text."""
    for ours, theirs in zip(found, shown, strict=True):
        if re.fullmatch(r"-?\d+\.\d+", theirs):
            assert float(ours) == pytest.approx(float(theirs), rel=1e-3)
        else:
            assert ours == theirs
