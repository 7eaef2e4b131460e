from pathlib import Path

import pytest

from training.errors import RunError
from training.run.folder import Request, Run, create_run

REQUEST = Request(
    recipe={"name": "conv-ae"},
    data="mnist",
    data_sha256="0" * 64,
    class_names=("0", "1"),
    normal_classes=("0",),
    invert=False,
    seed=0,
    device="CPU",
    processes=1,
    command="oddglyph-train fit conv-ae",
    commit="unknown",
    created="2026-11-25T00:00:00+00:00",
    versions={},
)


def test_a_run_says_what_it_was_asked_for_and_is_created_once(tmp_path: Path):
    assert create_run(tmp_path / "run", REQUEST).request() == REQUEST
    with pytest.raises(RunError, match="expected no such run yet"):
        create_run(tmp_path / "run", REQUEST)


def test_a_folder_without_a_valid_request_is_no_run(tmp_path: Path):
    (tmp_path / "run.json").write_text('{"recipe": 1}')
    with pytest.raises(RunError, match=r"expected a run folder with a valid run\.json"):
        Run(tmp_path).request()


def test_phases_keep_checkpoints_and_figures_apart(tmp_path: Path):
    run = Run(tmp_path)
    run.save({"history": [{"epoch": 1}], "seconds": 1.0})
    assert run.density.checkpoint() is None
    run.density.save({"history": [{"epoch": 1}, {"epoch": 2}], "seconds": 2.0})
    assert [phase.checkpoint()["seconds"] for phase in (run, run.density)] == [1.0, 2.0]
    lines = [(tmp_path / name).read_text().count("\n") for name in ("metrics.jsonl", "density.jsonl")]
    assert lines == [1, 2]


@pytest.mark.parametrize("contents", [b"", b"damaged", b"\x80\x02.", b"PK\x03\x04", b"\x80\x02}q\x00("])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, contents: bytes):
    (tmp_path / "checkpoint.pt").write_bytes(contents)
    with pytest.raises(RunError, match="expected a checkpoint, got a damaged file") as caught:
        Run(tmp_path).checkpoint()
    assert "\n" not in str(caught.value)
