import json
import subprocess
import sys
from pathlib import Path

import pytest

from training import recipes
from training.errors import RecipeError

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_derived_recipe_differs_in_what_was_changed_only(name: str):
    base = recipes.RECIPES[name]
    derived = recipes.derive(base, "other", "the same of another paper", paper="none")
    assert type(derived) is type(base)
    changed = {"name": "other", "summary": "the same of another paper", "paper": "none"}
    assert derived.model_dump() == base.model_dump() | changed


@pytest.mark.parametrize("base", [recipes.SHARED_AAE, recipes.DCGAN, recipes.CIFAR_NET], ids=lambda base: base.family)
@pytest.mark.parametrize(("field", "value"), [("epochs", -3), ("widht", 3), ("learning_rates", 1.0)])
def test_a_derived_recipe_is_validated(base: recipes.Recipe, field: str, value: float):
    with pytest.raises(RecipeError, match=field):
        recipes.derive(base, "other", "nonsense", **{field: value})


@pytest.mark.parametrize("model", ["mnist-0", "cifar10-cond", "cifar-net"])
def test_a_recipe_that_was_written_down_earlier_is_read(model: str):
    """Half-finished runs are resumed, so a field of run.json may go only if it is named as retired."""
    written = json.loads((REPOSITORY / "models" / model / "manifest.json").read_text())["recipe"]
    read = recipes.rebuild(written).model_dump(mode="json")
    density = {name: value for name, value in written.pop("density", {}).items() if name not in recipes.RETIRED}
    assert read.items() >= written.items()
    assert read.get("density", {}).items() >= density.items()


def test_the_suite_q1_leaves_out_what_the_reference_has_not():
    gans = {name for name, recipe in recipes.RECIPES.items() if recipe.family == "gan"}
    assert gans - set(recipes.Q1) == {"dcgan-mbstd", "dcgan-diffaug", "rgan-r1r2"}


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_survives_being_written_down(name: str):
    recipe = recipes.resolve(name)
    assert recipes.rebuild(recipe.model_dump(mode="json")) == recipe


def test_changes_are_applied():
    recipe = recipes.resolve("shared-aae", ["epochs=3", "widths=8,16,32", "learning_rate=1e-4"])
    assert (recipe.epochs, recipe.widths, recipe.learning_rate) == (3, (8, 16, 32), 1e-4)


def test_changes_reach_what_lies_within():
    recipe = recipes.resolve("shared-aae", ["density.contamination=0.1", "density.hidden=8,4"])
    assert recipe.density == recipes.DensityRecipe(contamination=0.1, hidden=(8, 4))
    assert recipes.resolve("shared-aae").density == recipes.DensityRecipe()


def test_the_plain_autoencoder_has_the_contextual_loss_only():
    recipe = recipes.resolve("conv-ae")
    assert (recipe.contextual_weight, recipe.latent_weight, recipe.adversarial_weight) == (1, 0, 0)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("nonesuch", [], "expected one of: conv-ae, shared-aae"),
        ("shared-ae", [], "did you mean shared-aae\\?"),
        ("conv-ae", ["epohcs=1"], "recipe field epohcs: .*did you mean epochs\\?"),
        ("conv-ae", ["density.prototype=1"], "recipe field density.prototype: .*did you mean prototypes\\?"),
        ("conv-ae", ["epochs=0"], "epochs"),
        ("conv-ae", ["epochs=many"], "epochs"),
        ("conv-ae", ["learning_rate=nan"], "learning_rate"),
        ("conv-ae", ["learning_rate=-1"], "learning_rate"),
        ("conv-ae", ["widths=8,16"], "widths"),
        ("conv-ae", ["nonesuch=1"], "nonesuch"),
        ("conv-ae", ["epochs"], "FIELD=VALUE"),
        ("conv-ae", ["density.contamination=0.5"], "recipe field density.contamination: .* less than 0.5"),
        ("conv-ae", ["density.nonesuch=1"], "recipe field density.nonesuch"),
        ("conv-ae", ["density.hull=3"], "recipe field density.hull"),  # of older runs only
        ("conv-ae", ["density.surfaces.hull=0"], "recipe field density.surfaces.hull"),
        ("conv-ae", ["epochs.max=1"], "recipe field epochs.max: expected fields within epochs"),
        ("conv-ae", ["nonesuch.max=1"], "recipe field nonesuch.max: expected fields within nonesuch"),
    ],
)
def test_nonsense_is_refused_by_name(name: str, changes: list[str], says: str):
    with pytest.raises(RecipeError, match=says):
        recipes.resolve(name, changes)


def test_the_table_of_recipes_is_read_without_torch_and_numpy():
    code = "import sys, training.recipes; print({'torch', 'numpy'} & {name.split('.')[0] for name in sys.modules})"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "set()\n"
