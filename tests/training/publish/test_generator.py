from pathlib import Path

import pytest
import torch
from torch import nn

from service.published.onnx_model import OnnxModel, relative_difference
from training import recipes
from training.export import PARITY_BATCHES, export, run_torch
from training.gan.learner import build_generator
from training.publish.generator import GeneratorGraph, example_inputs
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


class Shown(nn.Module):
    """A generator whose images are its latents."""

    def forward(self, z: torch.Tensor, _labels: torch.Tensor | None = None) -> torch.Tensor:
        return z.view(-1, 3, 32, 32)


def test_pixels_are_the_images_scaled_rounded_and_channels_last():
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    pixels = GeneratorGraph(Shown())(images.flatten(1))
    assert torch.equal(pixels.int(), ((images + 1) * 127.5).round().int().permute(0, 2, 3, 1))


def test_what_is_beyond_black_and_white_stays_there():
    images = torch.tensor([-1.5, -1.0, 1.0, 1.5]).view(4, 1, 1, 1).expand(4, 3, 32, 32)
    assert GeneratorGraph(Shown())(images.flatten(1))[:, 0, 0, 0].tolist() == [0, 0, 255, 255]
