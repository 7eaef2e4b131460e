"""An interrupted training says what is kept and how to go on."""

from pathlib import Path

import pytest

from training.interrupted import interruptible


def interrupted(run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(KeyboardInterrupt), interruptible(run):
        raise KeyboardInterrupt
    return capsys.readouterr().err


def test_a_run_that_was_begun_is_kept_and_can_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "run.json").write_text("{}")
    assert interrupted(tmp_path, capsys) == (
        f"oddglyph-train: interrupted; {tmp_path} keeps every finished epoch; repeat the command with --resume to go on\n"
    )
    assert (tmp_path / "run.json").exists()


def test_before_there_is_a_run_nothing_was_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert interrupted(tmp_path / "absent", capsys) == "oddglyph-train: interrupted; nothing was begun\n"


def test_a_training_that_ends_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with interruptible(tmp_path):
        pass
    assert capsys.readouterr().err == ""
