from pathlib import Path

import pytest
import torch

from service.runtime import OnnxModel, relative_difference
from training import recipes
from training.export import PARITY_BATCHES, export, run_torch
from training.gan import build_generator
from training.publish_generator import GeneratorGraph, example_inputs
from training.recipes import GanRecipe

CLASSES = 10
GANS = [recipe for recipe in recipes.RECIPES.values() if isinstance(recipe, GanRecipe)]


def small(recipe: GanRecipe) -> GanRecipe:
    return recipe.model_copy(update={"width": 4})


@pytest.mark.parametrize("recipe", GANS, ids=lambda recipe: recipe.name)
def test_every_recipe_exports_and_agrees_with_torch(recipe: GanRecipe, tmp_path: Path):
    torch.manual_seed(0)
    graph = GeneratorGraph(build_generator(small(recipe), CLASSES))
    inputs = example_inputs(recipe, CLASSES)
    exported = export(graph, inputs, ("pixels",), tmp_path / "generator.onnx")
    shapes = {spec.name: (spec.dtype, spec.shape) for spec in (*exported.graph.inputs, *exported.graph.outputs)}
    assert shapes.pop("pixels") == ("tensor(uint8)", ("batch", 32, 32, 3))
    assert shapes.pop("z") == ("tensor(float)", ("batch", recipe.latent_size))
    assert shapes == ({"labels": ("tensor(int64)", ("batch",))} if recipe.is_conditional else {})
    model = OnnxModel(tmp_path / "generator.onnx", exported.graph, "cpu")
    for batch in PARITY_BATCHES:
        part = {name: array[:batch] for name, array in inputs.items()}
        assert relative_difference(model(**part)["pixels"], run_torch(graph, part, ("pixels",))["pixels"]) == 0
