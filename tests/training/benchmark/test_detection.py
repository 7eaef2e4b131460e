import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from fitting import TINY
from typer.testing import CliRunner

from service import images
from training import cli, data_sets
from training.benchmark import detection
from training.benchmark.baselines import BASELINES
from training.benchmark.detection import Task
from training.errors import MetricError


@pytest.mark.parametrize("name", sorted(BASELINES.keys() - {"deep-svdd"}))
def test_baselines_find_noise_among_digits(digits: dict[str, np.ndarray], name: str):
    zeros = images.fit(digits["x_train"][digits["y_train"] == 0], 32)
    score = BASELINES[name](zeros, 0)
    noise = np.random.default_rng(0).integers(0, 256, (5, 32, 32), np.uint8)
    assert score(noise).shape == (5,)
    assert score(noise).min() > np.median(score(zeros))


def run(npz: Path, out: Path, *options: str):
    arguments = ["benchmark", "detection", "--data", str(npz), "--classes", "low", "--out", str(out), *options]
    return CliRunner().invoke(cli.app, arguments)


def test_results_are_kept_and_not_measured_again(digits_npz: Path, tmp_path: Path):
    out = tmp_path / "reports" / "toy"
    assert run(digits_npz, out, "--methods", "pca").exit_code == 0
    second = run(digits_npz, out, "--methods", "pca,iforest")
    assert second.exit_code == 0, second.output
    lines = json.loads(out.with_suffix(".json").read_text())
    assert [line["method"] for line in lines] == ["pca", "iforest"]
    assert "pca low seed 0" not in second.output
    assert all(0 <= line["auroc"] <= 1 and line["images_per_second"] > 0 for line in lines)
    assert "| pca | " in out.with_suffix(".md").read_text()


def test_protocol_b_turns_normal_and_anomalous_round(digits_npz: Path, tmp_path: Path):
    for protocol in "AB":
        assert run(digits_npz, tmp_path / protocol, "--methods", "pca", "--protocol", protocol).exit_code == 0
    a, b = (detection.read(tmp_path / f"{protocol}.json")[0] for protocol in "AB")
    other = run(digits_npz, tmp_path / "high", "--methods", "pca", "--classes", "high")
    assert other.exit_code == 0
    assert b.auroc == detection.read(tmp_path / "high.json")[0].auroc != a.auroc


def test_an_unknown_method_is_named_with_the_known_ones(digits_npz: Path, tmp_path: Path):
    failed = run(digits_npz, tmp_path / "x", "--methods", "magic")
    assert failed.exit_code == 1
    assert "method magic" in str(failed.exception)
    assert "hog-knn" in str(failed.exception)


@pytest.mark.parametrize("seeds", ["a", "0,", "-1", "0.5"])
def test_seeds_are_whole_numbers(seeds: str, digits_npz: Path, tmp_path: Path):
    failed = run(digits_npz, tmp_path / "x", "--seeds", seeds)
    assert isinstance(failed.exception, MetricError)
    assert f"--seeds {seeds}: expected whole numbers" in str(failed.exception)
    assert not list(tmp_path.iterdir())


def test_a_dot_in_the_name_of_the_results_stays(digits_npz: Path, tmp_path: Path):
    assert run(digits_npz, tmp_path / "v1.2", "--methods", "pca").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v1.2.json", "v1.2.md"]


def test_a_data_set_without_a_test_split_is_refused_in_one_sentence(digits_npz: Path, tmp_path: Path):
    with np.load(digits_npz) as arrays:
        np.savez(tmp_path / "untested.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])
    failed = run(tmp_path / "untested.npz", tmp_path / "x", "--methods", "pca")
    assert isinstance(failed.exception, MetricError)
    assert "expected normal and anomalous images in the test split, got 0 and 0" in str(failed.exception)
    judged_on_train = run(tmp_path / "untested.npz", tmp_path / "x", "--methods", "pca", "--judge-on", "train")
    assert judged_on_train.exit_code == 0, judged_on_train.output


@pytest.mark.parametrize("limit", [0, 100])
def test_contamination_puts_other_classes_among_the_normal_images(digits_npz: Path, tmp_path: Path, limit: int):
    data_set = data_sets.load(str(digits_npz), tmp_path, 32)
    task = Task("pca", "digits", "A", "low", 0, limit=limit, contamination=0.2)
    labels = data_set.indices(["low"])
    normal = detection._normal(task, data_set, labels)
    pure, mixed = normal.pixels, detection._contaminated(task, data_set, labels, normal).pixels
    np.testing.assert_array_equal(pure, data_set.train.of(labels)[: limit or None])
    assert len(pure) / len(mixed) == pytest.approx(0.8, abs=0.01)
    np.testing.assert_array_equal(mixed[: len(pure)], pure)
    others = {image.tobytes() for image in data_set.train.of(data_set.indices(["high"]))}
    assert all(image.tobytes() in others for image in mixed[len(pure) :])


def test_contaminating_images_are_not_judged(digits_npz: Path, tmp_path: Path):
    data_set = data_sets.load(str(digits_npz), tmp_path, 32)
    task = Task("pca", "digits", "A", "low", 0, limit=50, contamination=0.2, judged_on="train")
    labels = data_set.indices(["low"])
    normal, held_out = detection._set_aside(detection._normal(task, data_set, labels), 10)
    mixed = detection._contaminated(task, data_set, labels, normal).pixels
    judged, anomalous = detection._judged_on_train(task, data_set, labels, held_out)
    fitted_on = {image.tobytes() for image in mixed}
    assert len(fitted_on) > len(normal.pixels)
    assert not any(image.tobytes() in fitted_on for image in judged)
    assert (~anomalous).sum() == len(held_out) == 10


def test_judged_on_training_images_no_test_image_takes_part(digits_npz: Path, tmp_path: Path):
    data_set = data_sets.load(str(digits_npz), tmp_path, 32)
    blind = dataclasses.replace(data_set, test=data_set.test.__class__(data_set.test.pixels * 0, data_set.test.labels))
    task = Task("pca", "digits", "A", "low", 0, judged_on="train")
    seeing, blinded = (detection.measure(task, each) for each in (data_set, blind))
    assert seeing.auroc == blinded.auroc > 0.5
    assert detection.measure(dataclasses.replace(task, judged_on="test"), data_set).auroc != seeing.auroc


def test_a_recipe_is_judged_by_all_that_it_gives_an_image_on_images_it_was_not_fitted_on(
    digits_npz: Path, tmp_path: Path
):
    changes = [part for change in TINY for part in ("--set", change)]
    options = ["--methods", "pca,restoring-aae", "--judge-on", "train", *changes]
    result = run(digits_npz, tmp_path / "x", *options)
    assert result.exit_code == 0, result.output
    pca, restoring = detection.read(tmp_path / "x.json")
    assert restoring.parts.keys() == {"l_con", "latent", "density"}
    assert len(set(restoring.parts.values())) == 3
    assert restoring.parts["density"] > 0.5
    assert (pca.parts, pca.changes) == ({}, "")
    assert f"| restoring-aae {' '.join(TINY)}: l_con |" in (tmp_path / "x.md").read_text()
    assert "seed 0" not in run(digits_npz, tmp_path / "x", *options).output


def test_changes_are_for_recipes(digits_npz: Path, tmp_path: Path):
    failed = run(digits_npz, tmp_path / "x", "--methods", "pca", "--set", "epochs=2")
    assert "--set: expected a recipe among the methods, got pca" in str(failed.exception)
    failed = run(digits_npz, tmp_path / "x", "--methods", "shared-aae", "--set", "epochs=none")
    assert "recipe field epochs" in str(failed.exception)
    assert not list(tmp_path.iterdir())
