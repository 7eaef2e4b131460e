"""From a finished GAN run to models/<name>/: ONNX, parity, golden outputs, pictures and manifest, in one step."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from service import images
from service.published import artifact
from service.published.artifact import Artifact, Manifest
from service.published.generator import Generator as ServedGenerator
from service.published.onnx_model import OnnxModel
from training.errors import PublishError
from training.export import Arrays, export
from training.gan.learner import build_generator
from training.gan.networks import Generator
from training.measure.detection import Metric, table
from training.publish import finished as finished_run
from training.publish.finished import Finished
from training.recipes import GanRecipe
from training.run.folder import Run

Measure = Callable[[ServedGenerator, Path], list[Metric]]

PARITY_EXAMPLES = 64
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


def publish_generator(run: Run, models_dir: Path, name: str, measure: Measure, *, replace: bool = False) -> Artifact:
    """Return the artifact `models_dir`/`name`, made from a finished GAN `run`, whole or not at all.

    `measure` is given the exported generator and the new folder; it returns what metrics.json is to hold.
    PublishError if the run is not finished or ONNX Runtime differs from torch; ArtifactError if the name is taken and not
    to be replaced.
    """
    finished = finished_run.finished(run)
    with artifact.staging(models_dir, name, replace=replace) as path:
        manifest = write_generator(path, finished)
        metrics = measure(ServedGenerator(Artifact(path, manifest), "cpu"), path)
        (path / "metrics.json").write_text(json.dumps(table(metrics), indent=2) + "\n")
        shutil.copy(run.path / "curves.png", path / "curves.png")
        artifact.seal(path, manifest)
    return artifact.load(models_dir / name)


def write_generator(path: Path, finished: Finished) -> Manifest:
    """Return the manifest, not yet sealed, of the generator of `finished`, written into the folder `path`."""
    recipe = finished.recipe
    if not isinstance(recipe, GanRecipe):
        raise PublishError(
            f"{finished.run.path}: expected a GAN, got the recipe {recipe.name}; publish it as what it is"
        )
    classes = len(finished.request.class_names)
    generator = build_generator(recipe, classes)
    generator.load_state_dict(finished.learner["average"])
    graph = GeneratorGraph(generator)
    inputs = example_inputs(recipe, classes)
    exported = export(graph, inputs, ("pixels",), path / "generator.onnx")
    finished_run.write_golden(path, graph, inputs, ("pixels",))
    model = OnnxModel(path / "generator.onnx", exported.graph, "cpu")
    picture = images.grid(model(**picture_inputs(recipe, classes))["pixels"], classes).repeat(2, 0).repeat(2, 1)
    (path / "samples.png").write_bytes(images.encode_png(picture))
    summary = f"{recipe.name} on {finished.request.data}, {recipe.epochs} epochs; {recipe.summary}"
    return finished_run.manifest(path, finished, "generator", summary, {"generator": exported})


def example_inputs(recipe: GanRecipe, classes: int, count: int = PARITY_EXAMPLES, seed: int = 0) -> Arrays:
    """Return `count` inputs of the generator of `recipe`: z from N(0, 1) and, if it is conditional, all labels in turn."""
    z = np.random.default_rng(seed).standard_normal((count, recipe.latent_size), np.float32)
    return {"z": z, "labels": np.arange(count) % classes} if recipe.is_conditional else {"z": z}


def picture_inputs(recipe: GanRecipe, classes: int) -> Arrays:
    """Return inputs for the picture of a model: a column for each class."""
    return example_inputs(recipe, classes, PICTURED_PER_CLASS * classes, seed=1)
