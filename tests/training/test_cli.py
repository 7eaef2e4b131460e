"""The command `oddglyph-train` itself. Its subcommands are tested in the files of the modules that do the work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import service.cli
from training import cli, recipes
from training.errors import RecipeError
from training.families import Distance
from training.meanings import MEANINGS

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "docs" / "examples" / "zero.png"
DEAR = ("torch", "torchvision", "sklearn", "scipy", "torch_fidelity", "onnxruntime", "matplotlib")


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "shared-aae"], ["--help"], ["fit", "--help"], ["benchmark", "detection", "--help"]]
)
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
    for result in (training, serving):
        assert ("elsewhere: expected a folder" if environment else ", mnist-0, ") in str(result.exception)


def test_a_recipe_is_shown_with_its_fields_as_set_takes_them():
    shown = CliRunner().invoke(cli.app, ["show", "shared-aae", "--set", "epochs=7"], env={"COLUMNS": "200"})
    fields = {line.split()[0]: line.split()[1] for line in shown.stdout.splitlines()[2:]}
    assert (fields["epochs"], fields["widths"], fields["density.strokes.hull"]) == ("7", "64,128,256", "64")
    changes = [f"{name}={value}" for name, value in fields.items()]
    assert recipes.resolve("shared-aae", changes) == recipes.resolve("shared-aae", ["epochs=7"])
    as_json = CliRunner().invoke(cli.app, ["show", "shared-aae", "--json"])
    assert json.loads(as_json.stdout) == recipes.resolve("shared-aae").model_dump(mode="json")


def test_each_field_has_a_meaning_and_each_meaning_a_field():
    fields = {name for family in recipes.FAMILIES.values() for name in recipes.changeable(family)} - {"density"}
    fields |= {f"density.{name}" for name in recipes.DensityRecipe.model_fields.keys() - {"strokes", "surfaces"}}
    fields |= {f"density.{kind}.{name}" for kind in ("strokes", "surfaces") for name in Distance.model_fields}
    assert fields == MEANINGS.keys()


def test_replace_needs_a_name_to_publish_under(tmp_path: Path):
    arguments = ["fit", "shared-aae", "--normal-class", "0", "--replace", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli.app, arguments)
    assert str(result.exception).startswith("--replace: expected --publish NAME beside it, got none")
    assert not list(tmp_path.iterdir())


def test_recipes_are_listed_for_programs():
    listed = json.loads(CliRunner().invoke(cli.app, ["list", "--json"]).stdout)
    assert [recipe["name"] for recipe in listed] == list(recipes.RECIPES)


@pytest.mark.parametrize("recipe", ["dcgan", "cifar-net"])
def test_invert_is_for_autoencoders(recipe: str, tmp_path: Path):
    result = CliRunner().invoke(cli.app, ["fit", recipe, "--invert", "--out", str(tmp_path / "run")])
    assert isinstance(result.exception, RecipeError)
    assert f"recipe {recipe}: expected no --invert" in str(result.exception)
    assert not list(tmp_path.iterdir())
