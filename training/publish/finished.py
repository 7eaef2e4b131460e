"""What every publisher does: take a finished run, write the manifest and the golden outputs, find the data again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from service.published import artifact
from service.published.artifact import Kind, Manifest, Provenance
from training import data, recipes
from training.data import DataSet, NormalSplit
from training.errors import PublishError
from training.export import Arrays, Exported, joint_parity, run_torch
from training.recipes import Recipe
from training.run import folder
from training.run.folder import Request, Run

GOLDEN_IMAGES = 8


@dataclass(frozen=True)
class Finished:
    """A run that is done: what it was asked for, its recipe, its weights and the seconds that they took."""

    run: Run
    request: Request
    recipe: Recipe
    learner: dict[str, Any]
    seconds: float


def write_golden(path: Path, module: nn.Module, inputs: Arrays, outputs: tuple[str, ...]) -> None:
    """Write golden.npz into the folder `path`: a few `inputs` and what torch makes of them."""
    few = {name: array[:GOLDEN_IMAGES] for name, array in inputs.items()}
    arrays = {f"in_{name}": array for name, array in few.items()}
    arrays |= {f"out_{name}": array for name, array in run_torch(module, few, outputs).items()}
    np.savez_compressed(path / "golden.npz", allow_pickle=False, **arrays)


def manifest(path: Path, finished: Finished, kind: Kind, summary: str, exported: dict[str, Exported]) -> Manifest:
    """Return the manifest of the graphs and files that the folder `path` holds so far."""
    request, recipe = finished.request, finished.recipe
    return Manifest(
        schema_version=1,
        name=path.name,
        kind=kind,
        summary=summary,
        image_size=recipe.image_size,
        channels=1 if kind == "detector" else 3,
        class_names=request.class_names,
        normal_classes=request.normal_classes,
        graphs={name: one.graph for name, one in exported.items()},
        recipe=recipe.model_dump(mode="json"),
        provenance=provenance(request, finished.seconds),
        parity=joint_parity(list(exported.values())),
        files=artifact.hashes(path),
    )


def provenance(request: Request, seconds: float) -> Provenance:
    """Return where the weights of the run that `request` describes come from."""
    return Provenance(
        created=request.created,
        commit=request.commit,
        published_commit=folder.commit(),
        command=request.command,
        seed=request.seed,
        data=request.data,
        data_sha256=request.data_sha256,
        invert=request.invert,
        device=request.device,
        train_seconds=round(seconds, 1),
        versions=request.versions,
    )


def data_of(source: Provenance, normal_classes: Sequence[str], size: int, root: Path) -> tuple[DataSet, NormalSplit]:
    """Return the data set that `source` names, and its normal images split as they were for training.

    PublishError if `root` holds other images than those that were trained on.
    """
    data_set = data.load(source.data, root, size, invert=source.invert)
    require_sha256(data_set, source.data_sha256)
    return data_set, data.split_normal(data_set.train.of(data_set.indices(normal_classes)), source.seed)


def require_sha256(data_set: DataSet, sha256: str) -> None:
    """Raise PublishError if `data_set` is not the one with this `sha256`."""
    if data_set.sha256() != sha256:
        raise PublishError(
            f"data set {data_set.name}: expected the images of the training, got others; give its --data-root"
        )


def finished(run: Run) -> Finished:
    """Return what `run` has come to; PublishError if it has epochs left."""
    request = run.request()
    recipe, checkpoint = recipes.rebuild(request.recipe), run.checkpoint()
    epochs = len(checkpoint["history"]) if checkpoint else 0
    if checkpoint is None or epochs < recipe.epochs:
        raise PublishError(
            f"{run.path}: expected {recipe.epochs} finished epochs, got {epochs}; continue it with fit --resume"
        )
    return Finished(run, request, recipe, checkpoint["learner"], checkpoint["seconds"])
