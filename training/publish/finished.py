"""What every publisher does: take a finished run, write graphs, golden outputs, metrics and manifest, seal the folder."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from service.published import artifact
from service.published.artifact import Arrays, Artifact
from service.published.manifest import Kind, Manifest, Metric, Provenance
from training import data_sets, recipes
from training.data import DataSet, NormalSplit
from training.errors import PublishError
from training.export import Exported, joint_parity, run_torch
from training.recipes import DensityOnlyRecipe, DetectorRecipe, Recipe
from training.run import provenance
from training.run.folder import Request, Run

GOLDEN_IMAGES = 12


@dataclass(frozen=True)
class Target:
    """Where a model is published: `models_dir`/`name`. A model of this name stays unless `replace`."""

    models_dir: Path
    name: str
    replace: bool = False

    def require_free(self) -> None:
        """Raise ArtifactError if the name is taken or invalid."""
        artifact.require_free(self.models_dir, self.name, replace=self.replace)


@dataclass(frozen=True)
class Finished:
    """A finished run: its request, its recipe, its learner's state if it has one, and its training time in seconds.

    `fitted` is what was fitted after the epochs, the density of a detector.
    """

    run: Run
    request: Request
    recipe: Recipe
    learner: dict[str, Any]
    seconds: float
    fitted: dict[str, Any]

    @property
    def curves(self) -> Path:
        """Where the figures of the training are drawn; a density has a training of its own."""
        return (self.run if self.learner else self.run.density).curves

    def provenance(self) -> Provenance:
        """Return where the weights come from."""
        known = self.request.model_dump(include=set(Provenance.model_fields))
        return Provenance(**known, published_commit=provenance.commit(), train_seconds=round(self.seconds, 1))

    def manifest(self, path: Path, kind: Kind, summary: str, exported: dict[str, Exported]) -> Manifest:
        """Return the manifest of the graphs and files that the folder `path` holds so far."""
        return Manifest(
            schema_version=1,
            name=path.name,
            kind=kind,
            summary=summary,
            image_size=self.recipe.image_size,
            channels=1 if kind == "detector" else 3,
            class_names=self.request.class_names,
            normal_classes=self.request.normal_classes,
            graphs={name: one.graph for name, one in exported.items()},
            recipe=self.recipe.model_dump(mode="json"),
            provenance=_without_places(self.provenance()),
            parity=joint_parity(list(exported.values())),
            files=artifact.hashes(path),
        )


def _without_places(source: Provenance) -> Provenance:
    """Return `source` with the names of files and folders only, since everybody may read a manifest."""
    groups = source.groups and Path(source.groups).name
    return source.model_copy(update={"data": Path(source.data).resolve().name, "groups": groups})


def finished(run: Run) -> Finished:
    """Return `run` as a finished run; PublishError if epochs or the density are missing."""
    request = run.request()
    recipe = recipes.rebuild(request.recipe)
    learner: dict[str, Any] = {}
    seconds, fitted = 0.0, {}
    if not isinstance(recipe, DensityOnlyRecipe):
        learner, seconds = _trained(run, recipe.epochs)
    if isinstance(recipe, DetectorRecipe):
        fitted, density = run.fitted() or {}, run.density.checkpoint()
        if not fitted or density is None:
            raise PublishError(f"{run.path}: expected a density, found none; fit it with fit --resume")
        seconds += density["seconds"]
    return Finished(run, request, recipe, learner, seconds, fitted)


def _trained(run: Run, wanted: int) -> tuple[dict[str, Any], float]:
    """Return the state of the learner after the `wanted` epochs, and the seconds that they took."""
    checkpoint = run.checkpoint()
    epochs = len(checkpoint["history"]) if checkpoint else 0
    if checkpoint is None or epochs < wanted:
        raise PublishError(
            f"{run.path}: expected {wanted} finished epochs, got {epochs}; continue it with fit --resume"
        )
    return checkpoint["learner"], checkpoint["seconds"]


def published(
    done: Finished,
    target: Target,
    write: Callable[[Path], Manifest],
    measure: Callable[[Artifact], Sequence[Metric]],
) -> Artifact:
    """Return the artifact that `write` and `measure` make of the run `done`. It appears whole or not at all, and loads.

    `write` exports into an empty folder and returns the manifest. `measure` runs the exported graphs, returns the metrics
    and may add pictures to the folder. ArtifactError if the name is taken; errors of the two functions pass through.
    """
    with artifact.staging(target.models_dir, target.name, replace=target.replace) as path:
        manifest = write(path)
        artifact.write_metrics(path, measure(Artifact(path, manifest)))
        shutil.copy(done.curves, path / artifact.CURVES)
        artifact.seal(path, manifest)
    return artifact.load(target.models_dir / target.name)


def write_golden(path: Path, module: nn.Module, inputs: Arrays, outputs: Sequence[str]) -> None:
    """Write golden.npz into the folder `path`: the first of `inputs` and torch's outputs for them."""
    few = {name: array[:GOLDEN_IMAGES] for name, array in inputs.items()}
    artifact.write_golden(path, few, run_torch(module, few, outputs))


def data_of(
    source: Provenance, normal_classes: Sequence[str], size: int, root: Path, groups: str | None = None
) -> tuple[DataSet, NormalSplit]:
    """Return the data set that `source` names, and its normal images split as they were for training.

    `groups` tells the groups of the images, if what told them in training has moved. PublishError if `root` holds other
    images than the training used, or if they are in other groups.
    """
    data_set = data_sets.load(source.data, root, size, invert=source.invert, groups=groups or source.groups)
    require_sha256(data_set, source.data_sha256)
    if source.groups_sha256 not in (None, data_set.groups_sha256):
        raise PublishError(
            f"data set {data_set.name}: expected the groups of the training, got others; give the --groups or --data-root of then"
        )
    return data_set, data_set.normal(normal_classes, source.seed)


def require_sha256(data_set: DataSet, sha256: str) -> None:
    """Raise PublishError if `data_set` has another hash than `sha256`."""
    if data_set.sha256 != sha256:
        raise PublishError(
            f"data set {data_set.name}: expected the images of the training, got others; give its --data-root"
        )
