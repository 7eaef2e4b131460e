"""The commands `oddglyph models` and `oddglyph sample`, run as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest

from service import images, loading
from service.published import artifact
from service.published.generator import Generator


def test_models_are_listed_for_people_and_programs(oddglyph, linear_models):
    status, out, err = oddglyph("models")
    assert status == 0
    assert err == f"models in {linear_models}; `oddglyph models NAME` describes one\n"
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["all-mnist", "group"],
        ["mnist-0", "detector"],
        ["mnist-1", "detector"],
        ["verdict-0", "detector"],
        ["black-and-white", "generator"],
        ["colours", "generator"],
    ]
    status, out, _ = oddglyph("models", "--json")
    group, zeros, _, verdict, _, colours = json.loads(out)
    assert (group["members"], group["calibration_size"]) == (["mnist-0", "mnist-1"], 20)
    assert (colours["reconstructs"], zeros["reconstructs"], verdict["reconstructs"]) == (False, True, False)
    assert (colours["calibration_size"], zeros["name"]) == (None, "mnist-0")
    with np.load(linear_models / "mnist-0" / "calibration.npz") as calibration:
        assert zeros["calibration_size"] == len(calibration["score"])


def test_each_shipped_model_has_a_line_of_at_most_80_characters(oddglyph, models_dir):
    _, out, _ = oddglyph("models", "--models-dir", str(models_dir))
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:3]] == ["all-fashion-mnist", "all-mnist"]
    assert {path.name for path in artifact.find(models_dir)} == {line.split()[0] for line in lines[3:]}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mnist-0", ["mnist-0, a detector", "20 normal images", "oddglyph score --model mnist-0 SOURCE"]),
        ("all-mnist", ["all-mnist, a group", "mnist-0, mnist-1", "oddglyph score --model all-mnist SOURCE"]),
        ("colours", ["colours, a generator", "ship, cat, frog", "oddglyph sample --model colours --out images.png"]),
    ],
)
def test_one_model_is_described_with_what_to_do_next(name, says, oddglyph):
    status, out, _ = oddglyph("models", name)
    assert status == 0
    assert all(words in out for words in says)


def test_a_misspelt_name_gets_the_nearest(oddglyph):
    status, _, err = oddglyph("models", "mnits-1")
    assert (status, err.endswith("; did you mean mnist-1?\n")) == (1, True)
    status, _, err = oddglyph("sample", "--model", "colors", "--out", "a.png")
    assert "model 'colors': expected one of: black-and-white, colours; did you mean colours?" in err


def test_a_shell_completes_the_names_of_models(linear_models, monkeypatch):
    monkeypatch.setenv("ODDGLYPH_MODELS", str(linear_models))
    assert list(loading.complete("")) == ["all-mnist", "black-and-white", "colours", "mnist-0", "mnist-1", "verdict-0"]
    assert list(loading.complete("mn")) == ["mnist-0", "mnist-1"]


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
