"""The commands `oddglyph models` and `oddglyph sample`, run as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest

from service import images, terminal
from service.published import artifact
from service.published.generator import Generator


def test_models_are_listed_for_people_and_programs(oddglyph, linear_models, monkeypatch):
    monkeypatch.setattr(terminal.stdout, "width", 160)  # a narrow terminal folds the summaries
    status, out, _ = oddglyph("models")
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["black-and-white", "generator"],
        ["colours", "generator"],
        ["mnist-0", "detector"],
        ["mnist-1", "detector"],
        ["verdict-0", "detector"],
    ]
    status, out, _ = oddglyph("models", "--json")
    _, colours, zeros, _, verdict = json.loads(out)
    assert (colours["reconstructs"], zeros["reconstructs"], verdict["reconstructs"]) == (False, True, False)
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
