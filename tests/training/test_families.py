import pytest

from training import recipes
from training.errors import RecipeError


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("wgan-gp", "discriminator_norm=batch", "discriminator_norm must be none"),
        ("wgan-gp", "minibatch_stddev=true", "minibatch_stddev must be off"),
        ("wgan-gp", "penalty_weight=0", "penalty_weight must be above 0"),
        ("dcgan", "penalty_weight=10", "penalty_weight must be 0"),
        ("dcgan", "spectral_norm=true", "discriminator_norm must be none"),
        ("dcgan", "conditioning=projection", "generator_norm must be conditional-batch"),
        ("dcgan", "generator_norm=conditional-batch", "conditioning must not be none"),
        ("dcgan", "classifier_weight=1", "conditioning must not be none"),
        ("sngan-cond", "classifier_share=0", "classifier_share"),
        ("sngan", "real_label=0.9", "real_label must be 1"),
        ("dcgan", "width=0", "width"),
        ("dcgan", "widths=1,2,3", "widths"),
    ],
)
def test_combinations_without_sense_are_refused(name: str, change: str, says: str):
    with pytest.raises(RecipeError, match=says):
        recipes.resolve(name, [change])


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=recipes.RECIPES)
def test_a_recipe_cannot_be_changed_after_it_was_built(recipe: recipes.Recipe):
    with pytest.raises(ValueError, match="frozen"):
        recipe.epochs = 1
