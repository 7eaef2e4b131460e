"""From a finished run to models/<name>/: ONNX, parity, calibration, golden outputs, metrics and manifest, in one step."""

import json
import shutil
from pathlib import Path

import numpy as np

from service import images
from service.published import artifact
from service.published.artifact import Artifact, Manifest
from service.published.detector import DEFAULT_ALPHA, Detector
from service.published.onnx_model import OnnxModel
from training import plots
from training.autoencoder.learner import Autoencoder
from training.data import DataSet, NormalSplit
from training.density.model import fit_density
from training.errors import PublishError
from training.export import export, round_to_half
from training.measure import detection
from training.publish.detector_graph import DetectorGraph, EncoderGraph, fit_statistics
from training.publish.finished import Finished, data_of, finished, manifest, provenance, write_golden
from training.recipes import AutoencoderRecipe
from training.run.folder import Run

DETECTOR_OUTPUTS = ("reconstruction", "heat", "l_con", "latent", "density", "score")
PICTURED = 16


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
    metrics = detection.detection_metrics(detector, data_set, normal)
    (path / "metrics.json").write_text(json.dumps(detection.table(metrics), indent=2) + "\n")
    shown = normal.calibration[:PICTURED]
    rows = np.concatenate([shown, detector.reconstruct(shown)])
    (path / "samples.png").write_bytes(images.encode_png(images.grid(rows, PICTURED).repeat(2, 0).repeat(2, 1)))
    anomalous = ~np.isin(data_set.test.labels, data_set.indices(manifest.normal_classes))
    if anomalous.any():
        scores = detector.score(data_set.test.pixels).score
        groups = {"normal": scores[~anomalous], "anomalous": scores[anomalous]}
        plots.histogram(groups, float(np.quantile(detector.calibration, 1 - DEFAULT_ALPHA)), path / "scores.png")
