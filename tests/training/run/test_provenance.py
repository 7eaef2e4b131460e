import pytest

from training.run import provenance


@pytest.mark.parametrize("program", ["/home/me/.venv/bin/oddglyph-train", "/home/me/oddglyph/training/cli.py"])
@pytest.mark.parametrize(
    "places",
    [
        ["--data-root", "/data", "--models-dir", "/m", "--out", "/runs/a"],
        ["--data-root=/data", "--out=/runs/a"],
        ["--judges-dir", "/m", "--inception-weights=/w"],
        [],
    ],
)
def test_the_command_that_is_recorded_says_nothing_of_the_machine(
    program: str, places: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.argv", [program, "fit", "conv-ae", *places, "--seed", "1"])
    assert provenance.command() == "oddglyph-train fit conv-ae --seed 1"


@pytest.mark.parametrize("given", [["--data", "/home/me/a b.npz"], ["--data=/home/me/a b.npz"]])
@pytest.mark.parametrize("groups", [["--groups", "/home/me/of.csv"], ["--groups=/home/me/of.csv"]])
def test_of_paths_the_command_keeps_the_names(given: list[str], groups: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["oddglyph-train", "fit", "conv-ae", *given, *groups])
    assert provenance.command() == "oddglyph-train fit conv-ae --data 'a b.npz' --groups of.csv"
