"""From a finished run to a published detector: ONNX, parity, calibration, golden outputs, metrics, pictures."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from service import images
from service.published import artifact
from service.published.artifact import Artifact
from service.published.conformal import DEFAULT_ALPHA, CalibrationSet
from service.published.detector import Detector
from service.published.guarantee import guarantee
from service.published.manifest import Manifest, Metric
from training import plots
from training.data import DataSet, NormalSplit
from training.density.fitting import Fitted
from training.density.model import to_light
from training.density.outliers import outliers
from training.errors import PublishError
from training.export import PARITY_EXAMPLES, export
from training.measure import detection
from training.publish.detector_graph import DetectorGraph, EncoderGraph, calibration_scores, graph_of
from training.publish.finished import Finished, Target, data_of, published, write_golden
from training.recipes import DetectorRecipe

PICTURED = 16


def publish_detector(done: Finished, target: Target, data_root: Path) -> Artifact:
    """Return the artifact at `target`, made from a finished run and proven to load and to score.

    `data_root` holds the data that the run was fitted on. PublishError if the run is no detector's, the data differ, or
    ONNX Runtime differs from torch; ArtifactError if the name is taken.
    """
    recipe, request = done.recipe, done.request
    if not isinstance(recipe, DetectorRecipe):
        raise PublishError(f"{done.run.path}: expected a detector, got the recipe {recipe.name}")
    target.require_free()
    data_set, normal = data_of(done.provenance(), request.normal_classes, recipe.image_size, data_root)
    write = partial(_write, done=done, recipe=recipe, normal=normal)
    return published(done, target, write, partial(_measure, data_set=data_set, normal=normal))


def proof_images(normal: images.Pixels) -> images.Pixels:
    """Return PARITY_EXAMPLES images that between them take every branch of the score, in turns of GOLDEN_IMAGES kinds.

    Half are normal; the others are outliers made of them of every kind, noise, and images that show nothing or little.
    """
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    chosen = normal[rng.permutation(len(normal))[:PARITY_EXAMPLES]]
    made = (outliers(to_light(chosen), generator).light.squeeze(1) * 255).round().to(torch.uint8).numpy()
    noise = rng.integers(0, 256, chosen.shape, dtype=np.uint8)
    faint = np.stack([np.full(image.shape, 6 * k % 256, np.uint8) + image // 128 for k, image in enumerate(chosen)])
    kinds = (chosen, made, chosen[::-1], noise, made[::-1], faint)
    mixed = np.stack([kinds[k % len(kinds)][k // len(kinds) % len(chosen)] for k in range(PARITY_EXAMPLES)])
    return np.ascontiguousarray(mixed)


def _write(path: Path, done: Finished, recipe: DetectorRecipe, normal: NormalSplit) -> Manifest:
    fitted = Fitted.restored(done.fitted, recipe.density)
    detector = graph_of(recipe, done.learner.get("autoencoder", {}), fitted, normal.validation)
    inputs = {"pixels": proof_images(normal.pixels)}
    exported = {"detector": export(detector, inputs, detector.OUTPUTS, path / "detector.onnx")}
    if isinstance(detector, DetectorGraph):
        exported["encoder"] = export(EncoderGraph(detector.autoencoder), inputs, ("z",), path / "encoder.onnx")
    write_golden(path, detector, inputs, detector.OUTPUTS)
    chosen = fitted.indices.numpy()
    scores = calibration_scores(detector, normal.pixels[chosen], fitted.scores).numpy()
    groups = normal.groups[chosen] if normal.is_grouped else None
    artifact.write_calibration(path, scores, groups)
    promised = guarantee(
        "leave-one-group-out" if normal.is_grouped else "cross-conformal", CalibrationSet(scores, groups)
    )
    summary = f"{', '.join(done.request.normal_classes)} of {Path(done.request.data).resolve().name} as normal; {recipe.summary}"
    return done.manifest(path, "detector", summary, exported).model_copy(update={"guarantee": promised})


def _measure(made: Artifact, data_set: DataSet, normal: NormalSplit) -> list[Metric]:
    detector = Detector(made, "cpu")
    planes = detector.compare(normal.validation[:PICTURED])
    rows = np.concatenate([planes[:, 0], planes[:, -1]])  # below each image its reconstruction, or else its heat map
    picture = images.grid(rows, PICTURED).repeat(2, 0).repeat(2, 1)
    (made.path / artifact.SAMPLES).write_bytes(images.encode_png(picture))
    judged = detection.judge(detector, data_set, normal)
    if judged.test is not None:
        groups = {"normal": judged.test.score[~judged.anomalous], "anomalous": judged.test.score[judged.anomalous]}
        threshold = float(np.quantile(detector.calibration, 1 - DEFAULT_ALPHA))
        plots.histogram(groups, threshold, made.path / artifact.SCORES)
    return judged.metrics()
