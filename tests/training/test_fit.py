import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from fitting import REPOSITORY, fit_arguments, fit_command
from typer.testing import CliRunner

from service.errors import OddglyphError
from training import cli

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def weights(run: Path) -> dict[str, torch.Tensor]:
    contents = torch.load(run / "checkpoint.pt", weights_only=True)
    return contents["learner"]["autoencoder"] | contents["learner"]["discriminator"]


def history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_all_that_a_person_wants_to_see(finished_run: Path):
    names = {path.name.split(".")[0] for path in finished_run.iterdir()}
    assert names == {
        *("run", "checkpoint", "metrics", "curves", "reconstructions", "events"),
        *("density", "density-curves", "fitted"),
    }
    lines = history(finished_run)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["val_l_con"] < 0.5 * lines[0]["val_l_con"]


def test_resuming_after_kill_9_gives_the_numbers_of_an_uninterrupted_run(tmp_path: Path, digits_npz: Path):
    out, untouched = tmp_path / "killed", tmp_path / "untouched"
    few = ("--set", "density.folds=2")  # so that the calibration, which is not killed, takes less time
    process = subprocess.Popen(
        fit_command(digits_npz, out, *few), cwd=REPOSITORY, env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    while not (out / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 1 <= len(history(out)) < 6
    for command in (fit_command(digits_npz, out, *few, "--resume"), fit_command(digits_npz, untouched, *few)):
        subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, check=True)
    assert history(out) == history(untouched)
    resumed, uninterrupted = weights(out), weights(untouched)
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in uninterrupted)


def test_two_processes_take_the_steps_of_one(tmp_path: Path, digits_npz: Path, fit):
    # The first steps, in which nothing is learned yet: later, differences in rounding grow as in any chaotic system.
    # So little that both end by the check for collapse, before the third epoch is kept.
    few = ("--set", "batch_size=64", "--set", "min_steps_per_epoch=2", "--set", "epochs=3")
    few += ("--set", "outlier_share=0.3")  # outliers mix images of all processes
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert "expected reconstructions that differ" in sentence(fit(alone, *few).exception)
    command = fit_command(digits_npz, together, *few, processes=2)
    ended = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "oddglyph-train: error: " in ended.stderr
    assert "expected reconstructions that differ" in ended.stderr
    assert len(history(alone)) == len(history(together)) == 2
    for ours, theirs in zip(history(together), history(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    for name, tensor in weights(together).items():
        torch.testing.assert_close(tensor, weights(alone)[name], rtol=1e-3, atol=1e-4)
    assert json.loads((together / "run.json").read_text())["processes"] == 2


def test_the_plain_autoencoder_trains_without_a_discriminator(tmp_path: Path, digits_npz: Path):
    command = ["conv-ae" if part == "shared-aae" else part for part in fit_arguments(digits_npz, tmp_path / "plain")]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    lines = history(tmp_path / "plain")
    assert lines[-1]["val_l_con"] < 0.5 * lines[0]["val_l_con"]
    assert "l_adv" not in lines[0]


def test_another_seed_gives_other_numbers(tmp_path: Path, finished_run: Path, fit):
    fit(tmp_path / "other", "--seed", "1", "--set", "epochs=3")
    assert history(tmp_path / "other")[0] != history(finished_run)[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [((), "expected no such run yet"), (("--resume", "--set", "learning_rate=0.1"), "another recipe")],
)
def test_a_run_is_neither_overwritten_nor_continued_as_another(
    finished_run: Path, fit, options: tuple[str, ...], says: str
):
    before = {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()}
    assert says in sentence(fit(finished_run, *options).exception)
    assert {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()} == before


def test_nan_stops_the_run_before_it_can_spoil_a_checkpoint(tmp_path: Path, fit):
    result = fit(tmp_path / "run", "--set", "learning_rate=1e30")
    assert "expected finite losses" in sentence(result.exception)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_collapse_stops_the_run(tmp_path: Path, fit):
    result = fit(tmp_path / "flat", "--set", "learning_rate=1e-9", "--set", "epochs=1")
    assert "expected reconstructions that differ" in sentence(result.exception)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--normal-class", "none"), "expected one of: high, low"),
        (("--data", "nonesuch"), "nonesuch"),
        (("--set", "epochs=0"), "epochs"),
        (("--device", "mps"), "mps"),
    ],
)
def test_bad_requests_get_one_sentence_and_leave_nothing(tmp_path: Path, fit, options: tuple[str, ...], says: str):
    assert says in sentence(fit(tmp_path / "bad", *options).exception)
    assert not (tmp_path / "bad").exists()


def test_an_error_is_one_line_and_exit_status_1_without_a_traceback(tmp_path: Path, digits_npz: Path):
    command = fit_command(digits_npz, tmp_path / "bad", "--normal-class", "none")
    completed = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert completed.returncode == 1
    assert (
        completed.stderr
        == "oddglyph-train: error: class 'none': expected one of: high, low; choose one, or an index below 2\n"
    )


def sentence(error: BaseException | None) -> str:
    assert isinstance(error, OddglyphError)
    assert "\n" not in str(error)
    return str(error)
