"""docs/recipes.md explains every recipe and every figure that a learner logs."""

import re
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from training.autoencoder.learner import AutoencoderLearner
from training.cifar_net import CifarNetLearner
from training.gan.learner import GanLearner
from training.recipes import RECIPES, AutoencoderRecipe, ClassifierRecipe, GanRecipe, Recipe, resolve
from training.run.loop import Learner

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
HEADINGS = {"autoencoder": "Autoencoders", "gan": "GANs", "classifier": "Classifier"}
TINY = {
    "autoencoder": ("widths=4,4,4", "latent_size=4"),
    "gan": ("width=2", "classifier_width=2", "discriminator_steps=1"),
    "classifier": ("widths=24,24,24",),
}


def learner(recipe: Recipe) -> Learner:
    fabric = Fabric(accelerator="cpu", devices=1)
    if isinstance(recipe, GanRecipe):
        return GanLearner(recipe, fabric, 10, 0, 10)
    if isinstance(recipe, AutoencoderRecipe):
        return AutoencoderLearner(recipe, fabric, 10, 0)
    assert isinstance(recipe, ClassifierRecipe)
    return CifarNetLearner(recipe, fabric, 10, 0, 10, torch.rand(16, 3, 32, 32))


def table(family: str) -> set[str]:
    """Return the figures that the table of `family` explains."""
    section = PAGE.split("## Logged figures")[1].split(f"### {HEADINGS[family]}\n")[1].split("\n### ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def logged(recipe: Recipe) -> set[str]:
    part = learner(recipe)
    images = torch.rand(8, 1 if recipe.family == "autoencoder" else 3, 32, 32) * 2 - 1
    labels = torch.arange(8)
    return part.step(images, labels).keys() | part.validate(images, labels).keys()


@pytest.mark.parametrize("family", HEADINGS)
def test_the_table_of_a_family_explains_what_its_learners_log_and_nothing_else(family: str):
    names = [recipe.name for recipe in RECIPES.values() if recipe.family == family]
    assert set().union(*(logged(resolve(name, TINY[family])) for name in names)) == table(family)


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.startswith("dcgan-")])
def test_every_recipe_has_a_section(name: str):
    assert re.search(rf"^#+ .*`{name}`", PAGE, re.MULTILINE)


def test_deviations_are_numbered_from_one_without_a_gap():
    deviations = PAGE.split("## Logged figures")[0]
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", deviations, re.MULTILINE)]
    assert all(number in (1, before + 1) for before, number in zip([0, *numbers], numbers, strict=False))
