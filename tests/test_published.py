"""Every shipped model loads, repeats its golden outputs, is small, and reaches its metrics."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from service import images
from service.published import artifact
from service.published.detector import Detector
from service.published.group import Group
from service.published.onnx_model import OnnxModel, verify_golden

MODELS = Path(__file__).parents[1] / "models"
MAX_BYTES = {"detector": 12 * 10**6, "generator": 20 * 10**6, "classifier": 20 * 10**6}
MAX_BYTES_OF_DETECTORS = 120 * 10**6


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


def test_the_detectors_are_small_together():
    assert sum(size_of(path) for path in artifact.find(MODELS) if (path / "detector.onnx").exists()) <= (
        MAX_BYTES_OF_DETECTORS
    )


@pytest.mark.parametrize("path", artifact.find(MODELS), ids=lambda path: path.name)
def test_a_shipped_model_is_whole_and_small(path: Path):
    published = artifact.load(path)
    assert size_of(path) <= MAX_BYTES[published.manifest.kind]
    assert max(published.manifest.parity.relative_difference.values()) <= published.manifest.parity.tolerance
    assert published.metrics()


@pytest.mark.parametrize("path", artifact.find(MODELS), ids=lambda path: path.name)
def test_a_shipped_model_repeats_its_golden_outputs(path: Path):
    published = artifact.load(path)
    (graph,) = [graph for name, graph in published.manifest.graphs.items() if name != "encoder"]
    verify_golden(OnnxModel(published.file(graph.file), graph, "cpu"), published)


def test_the_default_model_takes_no_images_for_none():
    scores = Detector(artifact.load(MODELS / "mnist-0")).score(np.empty((0, 32, 32), np.uint8))
    assert scores.score.shape == scores.p_value.shape == (0,)


def test_the_default_model_tells_zeros_of_the_sample_from_other_digits(digits: dict[str, np.ndarray]):
    scores = Detector(artifact.load(MODELS / "mnist-0")).score(images.fit(digits["x_test"], 32))
    zeros = digits["y_test"] == 0
    assert roc_auc_score(~zeros, scores.score) > 0.98
    assert scores.l_con[zeros].mean() < 0.0294


def test_the_detectors_of_all_digits_tell_which_digit_an_image_of_the_sample_is(digits: dict[str, np.ndarray]):
    detectors = [Detector(artifact.load(MODELS / f"mnist-{digit}"), "cpu") for digit in range(10)]
    scores = Group("all-mnist", detectors).score(images.fit(digits["x_test"], 32))
    assert np.mean(scores.closest == digits["y_test"]) > 0.95
    shuffled = np.random.default_rng(0).permuted(images.fit(digits["x_test"], 32), axis=1)  # within each column
    assert np.mean(Group("all-mnist", detectors).score(shuffled).is_anomaly(0.05)) > 0.95


def test_the_default_model_reaches_its_metrics_on_all_of_mnist(data_root: Path):
    from training import data_sets

    test = data_sets.load("mnist", data_root, 32).test
    zeros, scores = test.labels == 0, Detector(artifact.load(MODELS / "mnist-0")).score(test.pixels)
    assert roc_auc_score(~zeros, scores.score) >= 0.985
    assert scores.l_con[zeros].mean() <= 0.0294
    assert scores.is_anomaly(0.05)[zeros].mean() < 0.075


def test_the_classifier_reaches_its_metrics_on_all_of_cifar10(data_root: Path):
    from training import data_sets
    from training.measure import networks

    test = data_sets.load_colour("cifar10", data_root).test
    seen = networks.load("cifar-net", MODELS)(test.pixels)
    accuracy = np.mean(seen.logits.argmax(axis=1) == test.labels)
    assert accuracy >= 0.9
    assert accuracy == pytest.approx(artifact.load(MODELS / "cifar-net").metrics()[0].value, abs=1e-3)
