"""The command `oddglyph-train` itself. Its subcommands are tested in the files of the modules that do the work."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import service.cli
from training import cli
from training.errors import RecipeError

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "docs" / "examples" / "zero.png"
DEAR = ("torch", "torchvision", "sklearn", "scipy", "torch_fidelity", "onnxruntime", "matplotlib")


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["fit", "--help"], ["benchmark", "detection", "--help"]])
def test_list_and_help_import_nothing_that_takes_seconds(arguments: list[str]):
    script = f"""
import sys
from training import cli
from training.errors import RecipeError
sys.argv = ["oddglyph-train", *{arguments}]
try:
    cli.main()
finally:
    assert {{*{DEAR}}}.isdisjoint(sys.modules), {{*{DEAR}}} & sys.modules.keys()
"""
    completed = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    assert "shared-aae" in completed.stdout or "Usage" in completed.stdout


@pytest.mark.parametrize("environment", [{}, {"ODDGLYPH_MODELS": "elsewhere"}])
def test_both_commands_look_for_models_in_one_folder_wherever_they_run(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    training = CliRunner().invoke(cli.app, ["evaluate", "nonesuch"], env=environment)
    serving = CliRunner().invoke(service.cli.app, ["score", "--model", "nonesuch", str(EXAMPLE)], env=environment)
    assert ("elsewhere" if environment else "mnist-0") in str(training.exception)
    assert str(training.exception) == str(serving.exception)


@pytest.mark.parametrize("recipe", ["dcgan", "cifar-net"])
def test_invert_is_for_autoencoders(recipe: str, tmp_path: Path):
    result = CliRunner().invoke(cli.app, ["fit", recipe, "--invert", "--out", str(tmp_path / "run")])
    assert isinstance(result.exception, RecipeError)
    assert f"recipe {recipe}: expected no --invert" in str(result.exception)
    assert not list(tmp_path.iterdir())
