"""A folder of Parquet files: equal to one file, and whole after any interruption."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from servers import REPOSITORY


@pytest.fixture
def digits_npy(tmp_path, digits):
    np.save("digits.npy", digits["x_test"][:50])


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture
def score(oddglyph, digits_npy, png_folder):
    """Run `oddglyph score` on 50 good images and a folder with a bad one, into files of 16 rows."""
    return lambda *arguments: oddglyph(
        "score", "digits.npy", png_folder.name, "--batch-size", "4", "--shard-rows", "16", *arguments
    )


@pytest.mark.parametrize("options", [[], ["--fdr", "--alpha", "0.2"]])
def test_a_folder_holds_the_rows_of_one_file(options, score):
    status, _, in_one = score("--out", "all.parquet", *options)
    assert status == 0
    status, out, err = score("--out", "new/folder", *options)
    assert (status, out) == (0, "")
    names = ["job.json", *(f"part-{number:06}.parquet" for number in range(5))]
    assert sorted(contents("new/folder")) == names
    parts = [parquet.read_table(f"new/folder/{name}") for name in names[1:]]
    assert [len(part) for part in parts] == [16, 16, 16, 16, 7]
    rows = [row for part in parts for row in part.to_pylist()]
    assert rows == parquet.read_table("all.parquet").to_pylist()
    assert err.split("images/s")[0] == in_one.split("images/s")[0]  # all counts


@pytest.mark.parametrize("lost", [[0], [3, 4], [1, 3]])
def test_lost_files_are_made_again(lost, score):
    score("--out", "scores", "--fdr")
    before = contents("scores")
    for number in lost:
        Path(f"scores/part-{number:06}.parquet").unlink()
    assert score("--out", "scores", "--fdr")[0] == 0
    assert contents("scores") == before


def test_complete_files_are_not_made_again(score):
    _, _, first = score("--out", "scores")
    inodes = {path: path.stat().st_ino for path in Path("scores").iterdir()}
    _, _, second = score("--out", "scores")
    assert {path: path.stat().st_ino for path in Path("scores").iterdir()} == inodes
    assert second.split("images/s")[0] == first.split("images/s")[0]


def test_a_killed_run_is_taken_up_again(score, linear_models):
    options = ["--shard-rows", "1", "--out"]
    score(*options, "undisturbed")
    command = [
        sys.executable,
        "-m",
        "service.cli",
        "score",
        "digits.npy",
        "digits",
        "--batch-size",
        "4",
        *options,
        "killed",
    ]
    paths = [Path("digits.npy"), Path("digits")]
    assert all(path.exists() for path in paths)
    environment = {**os.environ, "ODDGLYPH_MODELS": str(linear_models), "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None and not list(Path("killed").glob("part-*5.parquet")):
            time.sleep(0.001)
        run.kill()
    assert 1 < len(contents("killed")) < len(contents("undisturbed"))
    status, _, _ = score(*options, "killed")
    assert status == 0
    assert {**contents("killed"), "job.json": b""} == {**contents("undisturbed"), "job.json": b""}


def test_a_folder_is_for_one_job(score):
    score("--out", "scores")
    before = contents("scores")
    for options in (["--alpha", "0.1"], ["--model", "mnist-1"], ["--invert"], ["--shard-rows", "8"]):
        status, _, err = score("--out", "scores", *options)
        assert status == 1
        assert err.startswith("oddglyph: error: scores: expected the job that was begun there, with ")
        assert err.endswith("; choose a new folder\n")
    assert contents("scores") == before


def test_complete_files_must_be_of_the_same_images(score, png_folder):
    score("--out", "scores")
    (png_folder / "00.png").rename(png_folder / "000.png")
    status, _, err = score("--out", "scores")
    assert (status, err) == (
        1,
        "oddglyph: error: scores/part-000003.parquet: was made of other images than the sources hold now; choose a new folder\n",
    )
    (png_folder / "000.png").rename(png_folder / "00.png")
    for number in range(10, 20):
        (png_folder / f"{number}.png").unlink()
    Path("scores/part-000003.parquet").unlink()
    assert "part-000004.parquet: was made of other images" in score("--out", "scores")[2]


def test_other_folders_and_formats_are_refused(score, png_folder):
    status, _, err = score("--out", "digits")
    assert (status, err) == (
        1,
        "oddglyph: error: digits: expected a new folder, or one with job.json, got other files; choose another\n",
    )
    status, _, err = score("--out", "new", "--format", "csv")
    assert (status, err) == (
        1,
        "oddglyph: error: new: expected parquet for the files of a folder, got csv; leave out --format\n",
    )
    assert not Path("new").exists()
    Path("scores").mkdir()
    Path("scores/job.json").write_text("[")
    assert score("--out", "scores")[2] == (
        "oddglyph: error: scores/job.json: expected a job of oddglyph, got another file; choose a new folder\n"
    )


def test_a_damaged_file_is_named(score):
    score("--out", "scores")
    Path("scores/part-000002.parquet").write_bytes(b"PAR1")
    status, _, err = score("--out", "scores")
    assert status == 1
    assert err.startswith("oddglyph: error: scores/part-000002.parquet: cannot be read: ")
    assert err.endswith("; remove it, and run the command again\n")


def test_drift_is_told_of_a_folder_as_of_one_file(score):
    _, _, in_one = score("--out", "all.parquet", "--drift")
    assert "\ndrift: The images " in in_one
    for _ in range(2):  # the second run makes no file
        _, _, err = score("--out", "scores", "--drift")
        assert err.splitlines()[-1] == in_one.splitlines()[-1]
