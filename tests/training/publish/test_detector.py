import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import Result
from torch import nn
from typer.testing import CliRunner

from service import images
from service.errors import ArtifactError
from service.published import artifact
from service.published.detector import Detector
from training import cli
from training.errors import PublishError, RunError
from training.export import PARITY_BATCHES, PARITY_TOLERANCE, export
from training.publish.detector import publish_detector
from training.publish.finished import Target, finished
from training.run.folder import Run


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Path:
    """A models folder with the artifact "digits-low", published from the toy run."""
    folder = tmp_path_factory.mktemp("models")
    result = CliRunner().invoke(cli.app, ["publish", str(finished_run), "--models-dir", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def published(models: Path) -> artifact.Artifact:
    return artifact.load_named(models, "digits-low")


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory, digits_npz: Path) -> artifact.Artifact:
    """What `fit density --publish` leaves."""
    folder = tmp_path_factory.mktemp("density")
    arguments = ["fit", "density", "--data", str(digits_npz), "--normal-class", "low", "--device", "cpu"]
    places = ["--out", str(folder / "run"), "--models-dir", str(folder), "--publish", "verdict"]
    result = CliRunner().invoke(cli.app, [*arguments, *places])
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(cli.app, [*arguments, "--out", str(folder / "run"), "--resume"])
    assert again.exit_code == 0, again.output
    return artifact.load(folder / "verdict")


def test_the_artifact_holds_what_the_contract_says(published: artifact.Artifact):
    expected = {
        "calibration.npz",
        "curves.png",
        "detector.onnx",
        "encoder.onnx",
        "golden.npz",
        "metrics.json",
        "samples.png",
    }
    assert published.manifest.files.keys() == expected | {"scores.png"}
    assert published.manifest.normal_classes == ("low",)
    assert published.manifest.recipe["epochs"] == 6
    assert published.manifest.parity.relative_difference.keys() == set(PARITY_BATCHES)
    assert max(published.manifest.parity.relative_difference.values()) <= PARITY_TOLERANCE


def test_every_normal_image_calibrates_by_models_that_have_not_seen_it(
    published: artifact.Artifact, digits: dict[str, np.ndarray]
):
    calibration = published.calibration()
    assert len(calibration) == 200
    low = images.fit(digits["x_train"][digits["y_train"] < 5], 32)
    assert np.median(Detector(published, "cpu").score(low).score) < np.median(calibration)


def test_the_golden_inputs_take_every_branch_of_the_score(published: artifact.Artifact):
    _, outputs = published.golden()
    excess = outputs["score"] - outputs["density"]
    assert (excess == 0).any()
    assert ((excess > 0) & (excess < 50)).any()
    assert (excess > 90).any()


def test_the_parts_of_the_score_are_standardised_on_held_out_normal_images(published: artifact.Artifact):
    scores = np.load(published.file("calibration.npz"))["score"]
    assert abs(np.median(scores)) < 3
    assert 1 < np.std(scores) < 6


def test_any_onnx_runtime_reproduces_the_score_from_pixels_alone(
    published: artifact.Artifact, digits: dict[str, np.ndarray]
):
    pixels = images.fit(digits["x_test"][:5], 32)
    session = onnxruntime.InferenceSession(published.file("detector.onnx"))
    reconstruction, l_con, score = session.run(["reconstruction", "l_con", "score"], {"pixels": pixels})
    assert np.array_equal(score, Detector(published).score(pixels).score)
    assert reconstruction.dtype == np.uint8
    by_hand = np.abs(pixels - reconstruction.astype(float)).mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(l_con, by_hand, atol=1 / 255)


def test_the_graphs_name_no_folder_of_the_machine_that_made_them(published: artifact.Artifact):
    for name in ("detector.onnx", "encoder.onnx"):
        assert b".py" not in published.file(name).read_bytes()


def test_the_manifest_names_no_folder_of_the_machine_that_made_it(published: artifact.Artifact, digits_npz: Path):
    assert published.manifest.provenance.data == digits_npz.name
    assert str(digits_npz.parent) not in published.manifest.model_dump_json()


def test_scores_do_not_depend_on_batch_mates(published: artifact.Artifact, digits: dict[str, np.ndarray]):
    pixels = images.fit(digits["x_test"], 32)
    detector = Detector(published)
    together = detector.score(pixels).score
    alone = np.concatenate([detector.score(pixels[[k]]).score for k in range(20)])
    np.testing.assert_allclose(together[:20], alone, rtol=1e-4, atol=1e-4)


def test_an_image_that_shows_nothing_is_odder_than_any_other(
    published: artifact.Artifact, digits: dict[str, np.ndarray]
):
    detector = Detector(published, "cpu")
    empty = np.stack([np.full((32, 32), level, np.uint8) for level in (0, 128, 255)])
    faint = empty.copy()
    faint[:, 10:20, 10:20] ^= 13  # a contrast just above 5 %
    others = detector.score(np.concatenate([images.fit(digits["x_test"], 32), 255 - images.fit(digits["x_test"], 32)]))
    assert detector.score(empty).score.min() > others.score.max()
    shown, scored = detector.score(faint), detector.score(empty)
    assert np.all(shown.score - shown.density < (scored.score - scored.density) - 90)


def test_metrics_say_what_they_were_computed_from(published: artifact.Artifact):
    metrics = {(metric.name, metric.split): metric for metric in published.metrics()}
    auroc = metrics["auroc.score", "test"]
    assert auroc.samples == 200
    assert auroc.deviation_of == "bootstrap"
    assert 0 < auroc.deviation < 0.1
    assert 0.5 < auroc.value <= 1
    assert metrics["l_con", "held-out training images, normal"].samples == 20


def test_evaluate_repeats_the_published_metrics(models: Path, published: artifact.Artifact, digits_npz: Path):
    data_root = ["--data-root", str(digits_npz.parent)]
    result = CliRunner().invoke(cli.app, ["evaluate", "digits-low", "--models-dir", str(models), *data_root])
    assert result.exit_code == 0, result.output
    for metric in published.metrics():
        assert f"{metric.value:.4f}" in result.output


def test_report_shows_every_model(models: Path, tmp_path: Path):
    result = CliRunner().invoke(cli.app, ["report", "--models-dir", str(models), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report.html").read_text()
    assert "<td>digits-low</td>" in page
    assert page.count("data:image/png;base64") == 3
    assert "| digits-low |" in (tmp_path / "report.md").read_text()


def test_publishing_again_needs_replace(models: Path, finished_run: Path):
    before = (models / "digits-low" / "manifest.json").read_bytes()
    with pytest.raises(ArtifactError, match="--replace"):
        publish_detector(finished(Run(finished_run)), Target(models, "digits-low"), Path())
    assert (models / "digits-low" / "manifest.json").read_bytes() == before
    publish_detector(finished(Run(finished_run)), Target(models, "digits-low", replace=True), Path())
    assert [path.name for path in models.iterdir()] == ["digits-low"]


def test_a_run_is_published_as_soon_as_it_is_finished(fit: Callable[..., Result], models: Path, tmp_path: Path):
    result = fit(tmp_path / "run", "--publish", "at-once", "--models-dir", str(tmp_path / "models"))
    assert result.exit_code == 0, result.output
    assert Detector(artifact.load(tmp_path / "models" / "at-once"), "cpu").calibration_size == 200
    for name, says in {"digits-low": "already exists", "At Once": "expected lower-case words"}.items():
        refused = fit(tmp_path / "other", "--publish", name, "--models-dir", str(models))
        assert says in str(refused.exception)
    assert not (tmp_path / "other").exists()


def test_a_density_is_a_detector_without_an_autoencoder(
    verdict: artifact.Artifact, published: artifact.Artifact, digits: dict[str, np.ndarray]
):
    assert verdict.manifest.graphs.keys() == {"detector"}
    assert published.manifest.files.keys() - verdict.manifest.files.keys() == {"encoder.onnx"}
    pixels = images.fit(digits["x_test"], 32)
    found, whole = (Detector(one, "cpu").score(pixels) for one in (verdict, published))
    np.testing.assert_allclose(found.density, whole.density, rtol=1e-4, atol=1e-4)
    assert np.all(found.score == found.density)
    assert np.isnan(found.latent).all()
    assert Detector(verdict, "cpu").score(np.zeros((1, 32, 32), np.uint8)).score > found.score.max() + 50
    names = {metric.name for metric in verdict.metrics()}
    assert {"auroc.density", "auroc.score", "false_alarm_rate.alpha_0.05"} <= names
    assert not any("l_con" in name or "latent" in name for name in names)


def test_a_density_is_evaluated_and_reported(verdict: artifact.Artifact, tmp_path: Path, digits_npz: Path):
    models, data_root = ["--models-dir", str(verdict.path.parent)], ["--data-root", str(digits_npz.parent)]
    for command in (["evaluate", "verdict", *models, *data_root], ["report", *models, "--out", str(tmp_path)]):
        result = CliRunner().invoke(cli.app, command)
        assert result.exit_code == 0, result.output
    assert "| verdict |" in (tmp_path / "report.md").read_text()


def test_a_failed_publication_leaves_nothing(tmp_path: Path, finished_run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.export.PARITY_TOLERANCE", -1.0)
    with pytest.raises(PublishError, match="expected ONNX Runtime to repeat torch"):
        publish_detector(finished(Run(finished_run)), Target(tmp_path, "digits-low"), Path())
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_finished_run_is_refused(tmp_path: Path, finished_run: Path):
    with pytest.raises(RunError, match="expected a run folder"):
        publish_detector(finished(Run(tmp_path)), Target(tmp_path, "x"), Path())
    with pytest.raises(ArtifactError, match="expected lower-case words"):
        publish_detector(finished(Run(finished_run)), Target(tmp_path, "../x"), Path())


def test_another_module_than_the_exported_one_fails_parity(tmp_path: Path):
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + random.random()  # a constant in the exported graph

    with pytest.raises(PublishError, match="relative difference"):
        export(Noisy(), {"x": np.zeros((64, 2), np.float32)}, ("y",), tmp_path / "noisy.onnx")


@pytest.mark.parametrize("name", ["detector.onnx", "calibration.npz", "golden.npz", "metrics.json"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_tampered_artifact_is_refused_by_name(tmp_path: Path, published: artifact.Artifact, name: str, damage: str):
    copy = tmp_path / published.path.name
    copy.mkdir()
    for file in published.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    if damage == "missing":
        (copy / name).unlink()
    else:
        (copy / name).write_bytes((copy / name).read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match=name):
        artifact.load(copy)


def test_a_manifest_that_was_edited_along_with_the_weights_still_fails_its_golden_outputs(
    tmp_path: Path, published: artifact.Artifact
):
    copy = tmp_path / published.path.name
    copy.mkdir()
    for file in published.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    golden = dict(np.load(copy / "golden.npz"))
    golden["out_score"] = golden["out_score"] + 1
    np.savez(copy / "golden.npz", **golden)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = artifact.sha256_of(copy / "golden.npz")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="repeat its golden outputs, but score differs"):
        Detector(artifact.load(copy))
