import logging
from pathlib import Path

import pytest
import torch

from training import plots
from training.fit import make_fabric
from training.run.folder import Run
from training.run.journal import Journal

FABRIC = make_fabric("cpu")
LINE = {"epoch": 1.0, "step": 5.0, "loss": 0.5}


def journal(run: Run | None) -> Journal:
    return Journal(run, FABRIC, [], 0.0, steps=10)


def test_a_fault_in_a_picture_is_a_warning_and_the_epoch_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def broken() -> dict[str, torch.Tensor]:
        raise ValueError("no picture today")

    with journal(Run(tmp_path)) as book, caplog.at_level(logging.WARNING):
        book.write(LINE, {"weights": torch.ones(2)}, broken)
    assert "the checkpoint is kept" in caplog.text
    contents = Run(tmp_path).checkpoint()
    assert contents is not None
    assert contents["history"] == [LINE]
    assert contents["learner"]["weights"].tolist() == [1, 1]
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 1


def test_the_checkpoint_is_there_before_the_picture_is_made(tmp_path: Path):
    seen = []

    def look() -> dict[str, torch.Tensor]:
        seen.append((tmp_path / "checkpoint.pt").exists())
        return {"samples": torch.zeros(1, 2, 1, 4, 4)}

    with journal(Run(tmp_path)) as book:
        book.write(LINE, {}, look)
    assert seen == [True]
    assert (tmp_path / "samples.png").exists()
    assert (tmp_path / "curves.png").exists()


def test_a_phase_keeps_files_of_its_own(tmp_path: Path):
    for run in (Run(tmp_path), Run(tmp_path).density):
        with journal(run) as book:
            book.write(LINE, {}, dict)
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith("events")}
    assert names == {
        *("checkpoint.pt", "metrics.jsonl", "curves.png"),
        *("density.pt", "density.jsonl", "density-curves.png", "density"),
    }


def test_without_a_run_nothing_is_written_or_drawn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plots, "curves", None)  # calling it would fail
    with journal(None) as book:
        book.advance()
        book.write(LINE, {}, dict)
    assert book.history == [LINE]
