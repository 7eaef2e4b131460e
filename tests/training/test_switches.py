from typing import Any, get_args

import pytest

from training import switches
from training.families import GanRecipe
from training.gan.networks import ACTIVATIONS
from training.gan.objectives import objective
from training.recipes import RECIPES

FIELDS = ("blocks", "conditioning", "generator_norm", "discriminator_norm", "objective")


@pytest.mark.parametrize("name", get_args(switches.ObjectiveName))
def test_every_name_of_an_objective_is_another_objective(name: Any):
    others = [objective(other, 1.0, 1.0) for other in get_args(switches.ObjectiveName) if other != name]
    assert not isinstance(objective(name, 1.0, 1.0), tuple(type(other) for other in others))


def test_every_activation_has_a_layer():
    assert set(ACTIVATIONS) == set(get_args(switches.Activation))


@pytest.mark.parametrize("field", FIELDS)
def test_every_position_of_a_switch_is_used_by_a_recipe(field: str):
    positions = set(get_args(GanRecipe.model_fields[field].annotation))
    assert positions == {getattr(recipe, field) for recipe in RECIPES.values() if recipe.family == "gan"}


@pytest.mark.parametrize("field", ["spectral_norm", "minibatch_stddev", "diff_augment", "flip", "classifier_weight"])
def test_every_switch_that_is_off_or_on_is_on_in_a_recipe_and_off_in_another(field: str):
    assert {bool(getattr(recipe, field)) for recipe in RECIPES.values() if recipe.family == "gan"} == {False, True}
