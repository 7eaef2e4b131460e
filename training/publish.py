"""From a finished run to models/<name>/: ONNX, parity, calibration, golden outputs, metrics and manifest, in one step."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from service import artifact, images
from service.artifact import Artifact, Kind, Manifest, Provenance
from service.detector import DEFAULT_ALPHA, Detector
from service.runtime import OnnxModel
from training import data, evaluate, plots, recipes, runs
from training.aae import Autoencoder
from training.data import DataSet, NormalSplit
from training.density import fit_density
from training.errors import PublishError
from training.export import Arrays, Exported, export, joint_parity, round_to_half, run_torch
from training.recipes import AutoencoderRecipe, Recipe
from training.runs import Request, Run
from training.scoring import DetectorGraph, EncoderGraph, fit_statistics

DETECTOR_OUTPUTS = ("reconstruction", "heat", "l_con", "latent", "density", "score")
GOLDEN_IMAGES = 8
PICTURED = 16


@dataclass(frozen=True)
class Finished:
    """A run that is done: what it was asked for, its recipe, its weights and the seconds that they took."""

    run: Run
    request: Request
    recipe: Recipe
    learner: dict[str, Any]
    seconds: float


def publish(run: Run, models_dir: Path, data_root: Path, name: str, *, replace: bool = False) -> Artifact:
    """Return the artifact `models_dir`/`name`, made from a finished `run` and proven to load and to score.

    It appears whole or not at all; an artifact of that name is kept unless `replace`. `data_root` holds the data that
    the run was fitted on. PublishError if the run is not finished, the data differ, or ONNX Runtime differs from torch;
    ArtifactError if the name is taken.
    """
    done = finished(run)
    if not isinstance(done.recipe, AutoencoderRecipe):
        raise PublishError(f"{run.path}: expected an autoencoder, got the recipe {done.recipe.name}")
    source, classes = provenance(done.request, done.seconds), done.request.normal_classes
    data_set, normal = data_of(source, classes, done.recipe.image_size, data_root)
    with artifact.staging(models_dir, name, replace=replace) as path:
        manifest = _write_detector(path, done, done.recipe, normal)
        _write_results(path, manifest, data_set, normal)
        shutil.copy(run.path / "curves.png", path / "curves.png")
        artifact.seal(path, manifest)
    return artifact.load(models_dir / name)


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
        published_commit=runs.commit(),
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


def _write_detector(path: Path, finished: Finished, recipe: AutoencoderRecipe, normal: NormalSplit) -> Manifest:
    autoencoder = Autoencoder(recipe.latent_size, recipe.widths)
    autoencoder.load_state_dict(finished.learner["autoencoder"])
    round_to_half(autoencoder)
    density = fit_density(normal, recipe.density, finished.request.seed)
    detector = DetectorGraph(autoencoder.eval(), recipe.latent_size, density)
    fit_statistics(detector, normal.validation)
    inputs = {"pixels": normal.fit}
    exported = {
        "detector": export(detector, inputs, DETECTOR_OUTPUTS, path / "detector.onnx"),
        "encoder": export(EncoderGraph(autoencoder), inputs, ("z",), path / "encoder.onnx"),
    }
    write_golden(path, detector, inputs, DETECTOR_OUTPUTS)
    model = OnnxModel(path / "detector.onnx", exported["detector"].graph, "cpu")
    np.savez_compressed(path / "calibration.npz", score=np.sort(model(pixels=normal.calibration)["score"]))
    summary = f"{', '.join(finished.request.normal_classes)} of {finished.request.data} as normal; {recipe.summary}"
    return manifest(path, finished, "detector", summary, exported)


def _write_results(path: Path, manifest: Manifest, data_set: DataSet, normal: NormalSplit) -> None:
    detector = Detector(Artifact(path, manifest), "cpu")
    metrics = evaluate.detection_metrics(detector, data_set, normal)
    (path / "metrics.json").write_text(json.dumps(evaluate.table(metrics), indent=2) + "\n")
    shown = normal.calibration[:PICTURED]
    rows = np.concatenate([shown, detector.reconstruct(shown)])
    (path / "samples.png").write_bytes(images.encode_png(images.grid(rows, PICTURED).repeat(2, 0).repeat(2, 1)))
    anomalous = ~np.isin(data_set.test.labels, data_set.indices(manifest.normal_classes))
    if anomalous.any():
        scores = detector.score(data_set.test.pixels).score
        groups = {"normal": scores[~anomalous], "anomalous": scores[anomalous]}
        plots.histogram(groups, float(np.quantile(detector.calibration, 1 - DEFAULT_ALPHA)), path / "scores.png")
