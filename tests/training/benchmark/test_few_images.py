import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from training import cli, data_sets
from training.benchmark import few_images
from training.benchmark.few_images import Draw, Outcome
from training.errors import MetricError


def run(npz: Path, out: Path, *options: str):
    arguments = ["benchmark", "few-images", "--data", str(npz), "--classes", "low", "--sizes", "20", "--draws", "2"]
    return CliRunner().invoke(cli.app, [*arguments, "--out", str(out), *options])


def test_outcomes_are_kept_and_not_measured_again(digits_npz: Path, tmp_path: Path):
    assert run(digits_npz, tmp_path / "few", "--methods", "hog-knn", "--draws", "1").exit_code == 0
    second = run(digits_npz, tmp_path / "few", "--methods", "hog-knn")
    assert second.exit_code == 0, second.output
    assert "draw 1" in second.output
    assert "draw 0" not in second.output
    lines = json.loads((tmp_path / "few.json").read_text())
    assert [(line["images"], line["draw"]) for line in lines] == [(20, 0), (20, 1)]
    assert all(line["auroc"] > 0.5 and line["false_alarms"] is None for line in lines)
    assert "| 20 | `hog-knn` | " in (tmp_path / "few.md").read_text()


def test_all_images_calibrate_or_a_fifth_of_them(digits_npz: Path, tmp_path: Path):
    data_set = data_sets.load(str(digits_npz), tmp_path, 32)
    of_class = data_set.train.pixels[data_set.train.labels == data_set.indices(["low"])[0]]
    normal = few_images.split_normal(of_class[:25], 0)
    sizes = [
        len(calibration) for fit in (few_images.by_all, few_images.by_split) for calibration in [fit(normal, 0)[1]]
    ]
    assert sizes == [25, 5]


def test_draws_differ_and_are_the_same_again(digits_npz: Path, tmp_path: Path):
    data_set = data_sets.load(str(digits_npz), tmp_path, 32)
    first, again, other = (
        few_images.measure(Draw("hog-knn", "digits", "low", 20, draw), data_set).auroc for draw in (0, 0, 1)
    )
    assert first == again != other


def test_classes_take_turns_and_small_sizes_come_first():
    todo = few_images.tasks(["density"], "mnist", ["3", "4"], [20, 50], 3)
    assert [(draw.images, draw.class_name) for draw in todo] == [(n, k) for n in (20, 50) for k in "343"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--methods", "magic"], "method magic: expected one of: density"),
        (["--sizes", "2o"], "--sizes 2o: expected whole numbers"),
        (["--sizes", "100000"], "expected at least 100000 training images"),
        (["--sizes", "19"], "expected at least 20, got 19"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(
    options: list[str], sentence: str, digits_npz: Path, tmp_path: Path
):
    failed = run(digits_npz, tmp_path / "x", "--methods", "hog-knn", *options)
    assert failed.exit_code == 1
    assert sentence in str(failed.exception)
    assert not (tmp_path / "x.json").exists()


def test_the_table_gives_means_and_their_standard_errors():
    def outcome(draw: int, auroc: float, rate: float) -> Outcome:
        asked = {"method": "density", "data": "mnist", "class_name": "3", "images": 50, "draw": draw}
        return Outcome(**asked, auroc=auroc, false_alarms=(0.0, rate), detected=(0.0, 0.5), seconds=2)

    page = few_images.table([outcome(0, 0.9, 0.02), outcome(1, 0.8, 0.06)])
    row = [cell.strip() for cell in page.splitlines()[2].split("|")[1:-1]]
    assert row[:4] == ["mnist", "50", "`density`", "85.00 ± 5.00"]
    assert row[4:] == ["0.0000 ± 0.0000", "0.0000 ± 0.0000", "0.0400 ± 0.0200", "0.5000 ± 0.0000", "2", "2"]


def test_alarms_are_counted_at_each_alpha():
    calibration = np.arange(99.0)  # the p-value of 98.5 is 0.01, that of 95.5 is 0.04
    assert few_images._alarms(np.array([98.5, 95.5, 0.0, 0.0]), calibration) == (0.25, 0.5)
    assert few_images._alarms(np.array([1.0]), None) is None


def test_a_data_set_without_a_test_split_is_refused(digits_npz: Path, tmp_path: Path):
    with np.load(digits_npz) as arrays:
        np.savez(tmp_path / "untested.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])
    failed = run(tmp_path / "untested.npz", tmp_path / "x", "--methods", "hog-knn")
    assert isinstance(failed.exception, MetricError)
    assert "expected normal and anomalous images in the test split, got 0 and 0" in str(failed.exception)
