"""The command `oddglyph score`, run as a user runs it: what it prints and writes, and its exit status."""

import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from scipy.stats import false_discovery_control
from servers import REPOSITORY
from tables import in_csv

from service import images
from service.published import artifact
from service.published.detector import Detector


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


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_what_a_detector_without_an_autoencoder_does_not_know_is_left_empty(suffix, oddglyph, png_folder):
    status, _, err = oddglyph("score", str(png_folder), "--model", "verdict-0", "--fdr", "--out", f"scores.{suffix}")
    assert status == 0, err
    if suffix == "csv":
        rows, empty = in_csv(Path("scores.csv").read_text()), ""
    elif suffix == "jsonl":
        rows, empty = [json.loads(line) for line in Path("scores.jsonl").read_text().splitlines()], None
    else:
        rows, empty = parquet.read_table("scores.parquet").to_pylist(), None
    assert {(row["l_con"], row["latent"]) for row in rows} == {(empty, empty)}
    assert all(row["score"] not in ("", None) for row in rows[:20])


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


def test_the_user_says_whether_images_are_dark_on_light(oddglyph, digits):
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


def test_the_summary_is_silent_or_json_if_asked(oddglyph, png_folder):
    status, out, err = oddglyph("score", str(png_folder), "--quiet")
    assert (status, len(in_csv(out)), err) == (0, 21, "")
    status, again, err = oddglyph("score", str(png_folder), "--json")
    summary = json.loads(err)
    assert again == out
    assert (summary["images"], summary["unreadable"], summary["model"]) == (21, 1, "mnist-0")
    assert summary["anomalies"] == sum(row["is_anomaly"] == "true" for row in in_csv(out))


BAD = {
    "absent source": (["absent.png"], 1, "absent.png: names no file or folder"),
    "no image": (
        ["text.txt"],
        1,
        "images: none can be read; the first is text.txt: image: expected PNG",
    ),
    "labels": (["labels-idx1-ubyte"], 1, "labels-idx1-ubyte: expected uint8 images"),
    "unknown model": (
        ["a.npy", "--model", "mnist-7"],
        1,
        "model 'mnist-7': expected one of: all-mnist, mnist-0, mnist-1, verdict-0;",
    ),
    "misspelt group": (
        ["a.npy", "--model", "all-minst"],
        1,
        "model 'all-minst': expected one of: all-mnist, mnist-0, mnist-1, verdict-0; did you mean all-mnist?",
    ),
    "no models": (["a.npy", "--models-dir", "absent"], 1, "absent: expected a folder of published models"),
    "empty models": (["a.npy", "--models-dir", "."], 1, "none"),
    "out is a folder": (["a.npy", "--out", "."], 1, ".: expected a new folder, or one with job.json, got other files"),
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
    **{
        f"alpha {value}": (["a.npy", "--alpha", value], 2, f"expected more than 0 and less than 1, got {value}")
        for value in ("0", "1", "1.5", "nan")
    },
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
    assert err.startswith("oddglyph: error: images: none can be read; the first is text.txt: ")
