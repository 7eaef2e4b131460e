"""The command `oddglyph`, run as a user runs it: what it prints, writes, leaves behind, and its exit status."""

import csv
import errno
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from scipy import ndimage
from scipy.stats import false_discovery_control

from service import cli, images
from service.published import artifact
from service.published.detector import Detector
from service.published.generator import Generator

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "service.cli"]


@pytest.fixture
def oddglyph(linear_models, tmp_path, monkeypatch, capsys):
    """Runs the command in this process and in tmp_path; returns (exit status, standard output, standard error)."""
    monkeypatch.setenv("ODDGLYPH_MODELS", str(linear_models))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["oddglyph", *arguments])
        status = 0
        try:
            cli.main()
        except SystemExit as exit_:
            status = exit_.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return run


def in_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_scores_are_those_of_the_detector(oddglyph, png_folder, linear_models, digits):
    status, out, err = oddglyph("score", str(png_folder), "--batch-size", "7")
    rows = in_csv(out)
    assert status == 0
    assert [row["id"] for row in rows] == [str(path) for path in sorted(png_folder.iterdir())]
    detector = Detector(artifact.load(linear_models / "mnist-0"), "cpu")
    scores = detector.score(images.fit(digits["x_test"][:20], detector.image_size))
    for name in ("l_con", "latent", "density", "score", "p_value"):
        np.testing.assert_allclose([float(row[name]) for row in rows[:20]], getattr(scores, name), rtol=1e-5)
    assert [row["is_anomaly"] for row in rows[:20]] == [str(p <= 0.05).lower() for p in scores.p_value]
    assert rows[20]["error"].startswith("image: expected PNG, JPEG, WEBP, BMP, GIF, got 8 bytes")
    assert err.startswith("images: 21, anomalies: ")
    assert "unreadable: 1, " in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_file_holds_what_standard_output_would(suffix, oddglyph, png_folder, tmp_path):
    _, expected, _ = oddglyph("score", str(png_folder))
    status, out, err = oddglyph("score", str(png_folder), "--out", f"scores.{suffix}")
    assert (status, out) == (0, "")
    assert f"out: scores.{suffix}\n" in err
    assert {path.name for path in tmp_path.iterdir()} == {"digits", f"scores.{suffix}"}
    rows = in_csv(expected)
    if suffix == "csv":
        assert Path("scores.csv").read_text() == expected
    elif suffix == "jsonl":
        lines = [json.loads(line) for line in Path("scores.jsonl").read_text().splitlines()]
        assert [(line["id"], line["score"]) for line in lines[:20]] == [
            (row["id"], float(row["score"])) for row in rows[:20]
        ]
    else:
        lines = parquet.read_table("scores.parquet").to_pylist()
        assert [np.float32(line["score"]) for line in lines[:20]] == [np.float32(row["score"]) for row in rows[:20]]


def test_format_of_standard_output_can_be_chosen(oddglyph, png_folder):
    _, out, _ = oddglyph("score", str(png_folder / "00.png"), "--format", "jsonl")
    assert json.loads(out)["id"] == f"{png_folder}/00.png"


def test_sources_of_every_kind_may_be_mixed_and_score_alike(oddglyph, png_folder, digits):
    np.save("digits.npy", digits["x_test"][:20])
    _, out, _ = oddglyph("score", "digits.npy", str(png_folder / "0*.png"), str(png_folder / "10.png"))
    rows = in_csv(out)
    assert [row["id"] for row in rows] == [
        *(f"digits.npy[{number}]" for number in range(20)),
        *(f"{png_folder}/{number:02}.png" for number in range(11)),
    ]
    assert [row["score"] for row in rows[20:]] == [row["score"] for row in rows[:11]]


def test_dark_on_light_is_the_callers_word(oddglyph, digits):
    np.save("light.npy", digits["x_test"][:3])
    np.save("dark.npy", 255 - digits["x_test"][:3])
    _, light, _ = oddglyph("score", "light.npy")
    _, inverted, _ = oddglyph("score", "dark.npy", "--invert")
    _, as_they_are, _ = oddglyph("score", "dark.npy")
    assert inverted == light.replace("light", "dark") != as_they_are


def test_model_alpha_and_fdr(oddglyph, digits):
    np.save("digits.npy", digits["x_test"][digits["y_test"] < 2])
    _, default, _ = oddglyph("score", "digits.npy")
    _, named, err = oddglyph("score", "digits.npy", "--model", "mnist-1", "--alpha", "0.2")
    assert default != named
    assert "model: mnist-1" in err
    assert [row["is_anomaly"] == "true" for row in in_csv(named)] == [
        float(row["p_value"]) <= 0.2 for row in in_csv(named)
    ]
    _, controlled, err = oddglyph("score", "digits.npy", "--model", "mnist-1", "--alpha", "0.5", "--fdr")
    assert "false discovery rate 0.5" in err
    rejected = [row["is_anomaly"] == "true" for row in in_csv(controlled)]
    p_values = np.array([float(row["p_value"]) for row in in_csv(controlled)])
    assert rejected == list(false_discovery_control(p_values) <= 0.5)
    assert 0 < sum(rejected) < sum(p_values <= 0.5)


BAD = {
    "absent source": (["absent.png"], 1, "absent.png: names no file or folder"),
    "no image": (
        ["text.txt"],
        1,
        "images: expected some that can be read, got none; the first, text.txt: image: expected PNG",
    ),
    "labels": (["labels-idx1-ubyte"], 1, "labels-idx1-ubyte: expected uint8 images"),
    "unknown model": (
        ["a.npy", "--model", "mnist-7"],
        1,
        "model 'mnist-7': expected one of: black-and-white, colours, mnist-0, mnist-1;",
    ),
    "no models": (["a.npy", "--models-dir", "absent"], 1, "absent: expected a folder of published models"),
    "empty models": (["a.npy", "--models-dir", "."], 1, "none"),
    "out is a folder": (["a.npy", "--out", "."], 1, ".: expected a name that ends in .csv or .jsonl or .parquet"),
    "out in no folder": (
        ["a.npy", "--out", "absent/a.csv"],
        1,
        "absent/a.csv: expected a file name in a folder that exists",
    ),
    "out of no kind": (
        ["a.npy", "--out", "a.txt"],
        1,
        "a.txt: expected a name that ends in .csv or .jsonl or .parquet",
    ),
    "out is a source": (["a.npy", "--out", "a.npy", "--format", "csv"], 1, "a.npy: is also a source"),
    "no source": ([], 2, "Missing argument 'SOURCE"),
    "alpha": (["a.npy", "--alpha", "1.5"], 2, "Invalid value for '--alpha'"),
    "batch size": (["a.npy", "--batch-size", "0"], 2, "Invalid value for '--batch-size'"),
    "format": (["a.npy", "--format", "xml"], 2, "Invalid value for '--format'"),
    "option": (["a.npy", "--unknown"], 2, "No such option"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_goes_wrong_is_one_sentence_and_leaves_nothing(case, oddglyph, digits, tmp_path):
    arguments, expected_status, sentence = BAD[case]
    np.save("a.npy", digits["x_test"][:3])
    Path("text.txt").write_text("text")
    Path("labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x01\x07")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    out = [] if "--out" in arguments else ["--out", "out.csv"]
    status, printed, err = oddglyph("score", *arguments, *out)
    assert (status, printed) == (expected_status, "")
    assert sentence in err
    assert "Traceback" not in err
    if status == 1:
        assert err.startswith("oddglyph: error: ")
        assert err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_shipped_model_says_that_nothing_can_be_read(oddglyph, monkeypatch):
    monkeypatch.setenv("ODDGLYPH_MODELS", str(REPOSITORY / "models"))
    Path("text.txt").write_text("text")
    status, _, err = oddglyph("score", "text.txt")
    assert status == 1
    assert err.startswith("oddglyph: error: images: expected some that can be read, got none; the first, text.txt: ")


def test_models_are_listed_for_people_and_programs(oddglyph, linear_models, monkeypatch):
    monkeypatch.setattr(cli.stdout, "width", 160)  # a narrow terminal folds the summaries
    status, out, _ = oddglyph("models")
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["black-and-white", "generator"],
        ["colours", "generator"],
        ["mnist-0", "detector"],
        ["mnist-1", "detector"],
    ]
    status, out, _ = oddglyph("models", "--json")
    _, colours, zeros, _ = json.loads(out)
    assert (colours["calibration_size"], zeros["name"]) == (None, "mnist-0")
    with np.load(linear_models / "mnist-0" / "calibration.npz") as calibration:
        assert zeros["calibration_size"] == len(calibration["score"])


def test_samples_are_those_of_the_generator_the_same_for_the_same_seed(oddglyph, linear_models):
    expected = Generator(artifact.load(linear_models / "colours"), "cpu").sample("cat", 10, 7)
    for out in ("cats.npy", "cats.png", "again.png"):
        assert oddglyph("sample", "--class", "cat", "--count", "10", "--seed", "7", "--out", out) == (0, "", "")
    np.testing.assert_array_equal(np.load("cats.npy"), expected)
    assert Path("cats.png").read_bytes() == images.encode_png(images.grid(expected, columns=4))
    assert Path("again.png").read_bytes() == Path("cats.png").read_bytes()
    assert oddglyph("score", "cats.npy")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--class", "dog", "--out", "a.png"], "class 'dog': expected one of: ship, cat, frog"),
        (["--model", "mnist-0", "--out", "a.png"], "mnist-0: expected a generator, got a detector"),
        (["--out", "a.gif"], "a.gif: expected a name that ends in .png or .npy"),
        (["--out", "absent/a.png"], "absent/a.png: expected a file name in a folder that exists"),
    ],
)
def test_what_cannot_be_sampled_is_one_sentence(arguments, sentence, oddglyph, tmp_path):
    status, out, err = oddglyph("sample", *arguments)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("oddglyph: error: ")
    assert sentence in err
    assert not list(tmp_path.iterdir())


def test_calibrated_on_ones_own_images_alarms_hold_for_those(oddglyph, linear_models, digits):
    shutil.copytree(linear_models, "models")
    bold = ndimage.grey_dilation(digits["x_train"][digits["y_train"] == 0], size=(1, 4, 4))
    np.save("bold.npy", bold)
    arguments = "calibrate", "bold.npy", "--models-dir", "models", "--name", "bold-0"
    status, out, err = oddglyph(*arguments)
    assert (status, out, err.count("\n")) == (0, "", 1)
    alarms = [row["is_anomaly"] for row in in_csv(oddglyph("score", "bold.npy")[1])].count("true")
    assert alarms > 0.2 * len(bold)
    assert err.startswith(f"normal images: {len(bold)}, of which mnist-0 takes {alarms} for anomalies")
    rows = in_csv(oddglyph("score", "bold.npy", "--models-dir", "models", "--model", "bold-0")[1])
    p_values = np.array([float(row["p_value"]) for row in rows])
    ranks = np.argsort(np.argsort([-float(row["score"]) for row in rows]))
    np.testing.assert_allclose(p_values, (2 + ranks) / (1 + len(bold)))
    made = artifact.load(Path("models/bold-0"))
    assert made.manifest.calibration.model_dump(exclude={"created"}) == {
        "base": "mnist-0",
        "sources": ("bold.npy",),
        "invert": False,
        "images": len(bold),
    }
    assert oddglyph(*arguments)[2].startswith("oddglyph: error: models/bold-0: already exists")
    assert oddglyph(*arguments, "--replace")[0] == 0


def test_what_the_former_calibration_decided_is_left_out(oddglyph):
    shutil.copytree(REPOSITORY / "models" / "mnist-0", "models/mnist-0")
    np.save("noise.npy", np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8))
    assert oddglyph("calibrate", "noise.npy", "--models-dir", "models", "--name", "other")[0] == 0
    base, made = (artifact.load(Path("models") / name) for name in ("mnist-0", "other"))
    assert base.manifest.files.keys() - made.manifest.files.keys() == {"scores.png"}
    dropped = {metric.name for metric in base.metrics()} - {metric.name for metric in made.metrics()}
    assert dropped == {f"{rate}_rate.alpha_{alpha}" for rate in ("false_alarm", "detection") for alpha in (0.01, 0.05)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["few.npy", "--name", "few"], "normal images: expected at least 20 readable images, got 19; add some"),
        (["text.txt", "--name", "text"], "images: expected some that can be read, got none; the first, text.txt: "),
        (["few.npy", "--name", "../few"], "name '../few': expected lower-case words and digits joined by hyphens"),
        (["few.npy", "--name", "mnist-1"], "models/mnist-1: already exists"),
        (["few.npy", "--name", "few", "--model", "colours"], "models/colours: expected a detector, got a generator"),
    ],
)
def test_what_cannot_be_calibrated_is_one_sentence_and_leaves_nothing(
    arguments, sentence, oddglyph, linear_models, digits
):
    shutil.copytree(linear_models, "models")
    np.save("few.npy", digits["x_test"][:19])
    Path("text.txt").write_text("text")
    status, out, err = oddglyph("calibrate", *arguments, "--models-dir", "models")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"oddglyph: error: {sentence}")
    assert {path.name for path in Path("models").iterdir()} == {path.name for path in linear_models.iterdir()}


def test_a_folder_that_cannot_be_written_to_is_named(oddglyph, linear_models, digits, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("service.published.artifact.tempfile.TemporaryDirectory", refuse)
    np.save("few.npy", digits["x_test"][:30])
    status, _, err = oddglyph("calibrate", "few.npy", "--name", "few")
    assert status == 1
    assert err == (
        f"oddglyph: error: {linear_models}: cannot be written: Permission denied; give another --models-dir\n"
    )
