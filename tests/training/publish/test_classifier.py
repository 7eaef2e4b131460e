import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from service.errors import ArtifactError
from service.published import artifact
from service.published.detector import Detector
from training import cli
from training.data import DataSet
from training.errors import MetricError
from training.measure import networks

SIZE = ("widths=24,24,24", "epochs=3", "batch_size=30")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, photos_npz: Path) -> Path:
    out = tmp_path_factory.mktemp("runs") / "classifier"
    changes = [part for change in SIZE for part in ("--set", change)]
    result = run("fit", "cifar-net", "--data", str(photos_npz), "--device", "cpu", "--out", str(out), *changes)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    models_dir = tmp_path_factory.mktemp("models")
    result = run("publish", str(finished), "--models-dir", str(models_dir))
    assert result.exit_code == 0, result.output
    return models_dir


def test_a_published_classifier_says_what_it_is_and_how_good(models_dir: Path, photos: DataSet):
    published = artifact.load_named(models_dir, "cifar-net")
    expected = {"classifier.onnx", "confusion.png", "curves.png", "golden.npz", "metrics.json"}
    assert published.manifest.kind == "classifier"
    assert published.manifest.files.keys() == expected
    seen = networks.load("cifar-net", models_dir)(photos.test.pixels)
    accuracy, *per_class = published.metrics()
    assert accuracy.value == pytest.approx(np.mean(seen.logits.argmax(axis=1) == photos.test.labels))
    assert (accuracy.samples, accuracy.split, len(per_class)) == (150, "test", 10)
    assert np.mean([metric.value for metric in per_class]) == pytest.approx(accuracy.value)


def test_a_classifier_is_measured_again_by_its_name(models_dir: Path, photos_npz: Path):
    data_root = ("--data-root", str(photos_npz.parent))
    result = run("evaluate", "cifar-net", "--models-dir", str(models_dir), *data_root)
    assert result.exit_code == 0, result.output
    assert f"{artifact.load_named(models_dir, 'cifar-net').metrics()[0].value:.4f}" in result.output


def test_a_classifier_is_no_detector(models_dir: Path):
    with pytest.raises(ArtifactError, match="expected a detector, got a classifier"):
        Detector(artifact.load_named(models_dir, "cifar-net"))


def test_a_classifier_that_does_not_repeat_its_golden_outputs_is_refused(models_dir: Path, tmp_path: Path):
    source = artifact.load_named(models_dir, "cifar-net").path
    path = tmp_path / "cifar-net"
    path.mkdir()
    for file in source.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    with np.load(source / "golden.npz") as arrays:
        np.savez(path / "golden.npz", **{**arrays, "out_logits": arrays["out_logits"] + 0.1})
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = artifact.sha256_of(path / "golden.npz")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MetricError, match="logits differs by"):
        networks.load("cifar-net", tmp_path)
