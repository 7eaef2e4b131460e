"""From a finished GAN run to models/<name>/: ONNX, parity, golden outputs, pictures and manifest."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from service import images
from service.published import artifact
from service.published.artifact import Arrays, Artifact
from service.published.generator import Generator as ServedGenerator
from service.published.manifest import Manifest, Metric
from service.published.onnx_model import OnnxModel
from training.errors import PublishError
from training.export import PARITY_EXAMPLES, export
from training.gan.learner import build_generator
from training.gan.networks import Generator
from training.publish.finished import Finished, Target, published, write_golden
from training.recipes import GanRecipe

Measure = Callable[[ServedGenerator, Path], list[Metric]]

PICTURED_PER_CLASS = 8


class GeneratorGraph(nn.Module):
    """What generator.onnx computes: latents (and labels) to uint8 pixels; scaling, rounding and layout are inside."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return pixels uint8 [N, 32, 32, 3] for `z` [N, latent_size] and, if conditional, `labels` int64 [N]."""
        scaled: Tensor = (self.generator(z, labels) + 1) * 127.5
        return scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def publish_generator(done: Finished, target: Target, measure: Measure) -> Artifact:
    """Return the artifact at `target`, made from a finished GAN run, whole or not at all.

    `measure` takes the exported generator and the new folder, and returns the metrics.
    PublishError if the run is no GAN's or ONNX Runtime differs from torch; ArtifactError if the name is taken.
    """
    return published(
        done,
        target,
        partial(write_generator, done=done),
        lambda made: measure(ServedGenerator(made, "cpu"), made.path),
    )


def write_generator(path: Path, done: Finished) -> Manifest:
    """Return the manifest, not yet sealed, of the generator of `done`, written into the folder `path`."""
    recipe = done.recipe
    if not isinstance(recipe, GanRecipe):
        raise PublishError(f"{done.run.path}: expected a GAN, got the recipe {recipe.name}; publish it as what it is")
    classes = len(done.request.class_names)
    generator = build_generator(recipe, classes)
    generator.load_state_dict(done.learner["average"])
    graph = GeneratorGraph(generator)
    inputs = example_inputs(recipe, classes)
    exported = export(graph, inputs, ("pixels",), path / "generator.onnx")
    write_golden(path, graph, inputs, ("pixels",))
    model = OnnxModel(path / "generator.onnx", exported.graph, "cpu")
    picture = images.grid(model(**picture_inputs(recipe, classes))["pixels"], classes).repeat(2, 0).repeat(2, 1)
    (path / artifact.SAMPLES).write_bytes(images.encode_png(picture))
    summary = f"{recipe.name} on {Path(done.request.data).resolve().name}, {recipe.epochs} epochs; {recipe.summary}"
    return done.manifest(path, "generator", summary, {"generator": exported})


def example_inputs(recipe: GanRecipe, classes: int, count: int = PARITY_EXAMPLES, seed: int = 0) -> Arrays:
    """Return `count` inputs of the generator of `recipe`: z from N(0, 1) and, if it is conditional, all labels in turn."""
    z = np.random.default_rng(seed).standard_normal((count, recipe.latent_size), np.float32)
    return {"z": z, "labels": np.arange(count) % classes} if recipe.is_conditional else {"z": z}


def picture_inputs(recipe: GanRecipe, classes: int) -> Arrays:
    """Return inputs for the picture of a model, which has a column for each class."""
    return example_inputs(recipe, classes, PICTURED_PER_CLASS * classes, seed=1)
