import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service import images
from training import cli, data_sets
from training.benchmark import detection
from training.benchmark.baselines import BASELINES
from training.benchmark.detection import Result, Task
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


def test_the_table_gives_means_over_seeds_and_the_worst_class():
    def result(name: str, seed: int, auroc: float, speed: float | None) -> Result:
        rates = {"detected": 0.5, "false_alarms": 0.01, "false_alarms_05": 0.05, "inside": True}
        task = {"method": "density", "data": "mnist", "protocol": "A", "class_name": name, "seed": seed}
        return Result(**task, **rates, auroc=auroc, average_precision=1, seconds=1, images_per_second=speed)

    zeros = [result("0", 0, 1.0, 100), result("0", 1, 0.9, 200)]
    page = detection.table([*zeros, result("1", 0, 0.8, 300), result("1", 1, 0.7, None)])
    row = [cell.strip() for cell in page.splitlines()[4].split("|")[1:-1]]
    assert row[:7] == ["density", "95.00", "75.00", "85.00 ± 5.00", "75.00", "0.500", "0.0100"]
    assert row[7:] == ["0.0500", "4/4", "1", "200", "2"]


def test_contamination_puts_other_classes_among_the_normal_images(digits_npz: Path, tmp_path: Path):
    data_set = data_sets.load(str(digits_npz), tmp_path, 32)
    task = Task("pca", "digits", "A", "low", 0, contamination=0.2)
    normal = data_set.indices(["low"])
    pure, mixed = data_set.train.of(normal), detection._normal(task, data_set, normal).pixels
    assert len(pure) / len(mixed) == pytest.approx(0.8, abs=0.01)
    np.testing.assert_array_equal(mixed[: len(pure)], pure)
    others = {image.tobytes() for image in data_set.train.of(data_set.indices(["high"]))}
    assert all(image.tobytes() in others for image in mixed[len(pure) :])


def test_judged_on_training_images_no_test_image_takes_part(digits_npz: Path, tmp_path: Path):
    data_set = data_sets.load(str(digits_npz), tmp_path, 32)
    blind = dataclasses.replace(data_set, test=data_set.test.__class__(data_set.test.pixels * 0, data_set.test.labels))
    task = Task("pca", "digits", "A", "low", 0, judged_on="train")
    seeing, blinded = (detection.measure(task, each, tmp_path) for each in (data_set, blind))
    assert seeing.auroc == blinded.auroc > 0.5
    assert detection.measure(dataclasses.replace(task, judged_on="test"), data_set, tmp_path).auroc != seeing.auroc
