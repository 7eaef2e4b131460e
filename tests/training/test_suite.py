import json
from pathlib import Path

import numpy as np
import pytest
import torch

from service.published import artifact
from service.published.generator import Generator
from service.published.manifest import Metric
from training import suite
from training.errors import RecipeError, TrainingError
from training.suite import Suite
from training.switches import Device

SAMPLE = Path(__file__).parents[1] / "data" / "cifar10-sample.npz"
CPU: Device = "cpu"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Two recipes on 150 images, one conditional, one not."""
    monkeypatch.setitem(suite.SUITES, "tiny", ("dcgan", "sngan-cond"))
    return Suite(
        "tiny", ["width=2", "classifier_width=2", "epochs=2", "batch_size=32", "blocks=plain"], data=str(SAMPLE)
    )


def brightness(generator: Generator, _folder: Path) -> list[Metric]:
    mean = float(generator.sample(None, 20, seed=0).mean())
    return [
        Metric(
            name="brightness",
            value=mean,
            deviation=0.0,
            samples=20,
            data="cifar10-sample",
            split="generated",
            implementation="numpy",
        )
    ]


def test_q1_is_every_row_of_the_reference_and_the_two_beyond():
    jobs = Suite("q1", ["width=8", "epochs=2", "images=1000"], seeds=2).jobs(Path(), CPU)
    assert len(jobs) == 28
    assert {"dcgan-s0", "dcgan-s1", "cgan-s0", "wgan-gp-s1", "sngan-s0", "sngan-cond-s1"} <= jobs.keys()
    scale = {"width": 8, "epochs": 2, "images": 1000}
    assert all(job.recipe.model_dump().items() >= scale.items() for job in jobs.values())


@pytest.mark.parametrize(("name", "changes"), [("q2", []), ("q1", ["width=0"])])
def test_nonsense_is_refused(name: str, changes: list[str], tmp_path: Path):
    with pytest.raises(RecipeError):
        Suite(name, changes).jobs(tmp_path, CPU)


def test_a_suite_publishes_models_that_serve_and_is_not_done_twice(tiny: Suite, tmp_path: Path):
    models = suite.run(tiny.jobs(tmp_path, CPU), tmp_path, brightness)
    plain, conditional = (artifact.load(models / name) for name in ("dcgan-s0", "sngan-cond-s0"))
    assert (Generator(plain).is_conditional, Generator(conditional).is_conditional) == (False, True)
    pixels = Generator(conditional).sample(conditional.manifest.class_names[3], 5, seed=1)
    assert (pixels.shape, pixels.dtype) == ((5, 32, 32, 3), np.uint8)
    assert [metric.name for metric in conditional.metrics()] == ["brightness"]
    manifest = conditional.manifest
    assert (manifest.kind, manifest.channels, manifest.normal_classes) == ("generator", 3, ())
    assert {"generator.onnx", "golden.npz", "samples.png", "curves.png", "metrics.json"} == manifest.files.keys()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    suite.run(tiny.jobs(tmp_path, CPU), tmp_path, brightness)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_recipe_that_fails_is_named_and_keeps_no_other_from_running(tiny: Suite, tmp_path: Path):
    (tmp_path / "runs" / "dcgan-s0").mkdir(parents=True)
    (tmp_path / "runs" / "dcgan-s0" / "in-the-way").touch()
    with pytest.raises(TrainingError, match="these models failed: dcgan-s0;"):
        suite.run(tiny.jobs(tmp_path, CPU), tmp_path, brightness)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["sngan-cond-s0"]
    assert len((tmp_path / "runs" / "sngan-cond-s0" / "metrics.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "runs" / "sngan-cond-s0" / "run.json").read_text())["data"] == str(SAMPLE)


def test_an_error_that_nobody_foresaw_keeps_no_other_recipe_from_running(
    tiny: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def first_out_of_memory(generator: Generator, folder: Path) -> list[Metric]:
        if folder.name == "dcgan-s0":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return brightness(generator, folder)

    with pytest.raises(TrainingError, match="these models failed: dcgan-s0;"):
        suite.run(tiny.jobs(tmp_path, CPU), tmp_path, first_out_of_memory)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["sngan-cond-s0"]
    assert "OutOfMemoryError: CUDA out of memory" in capsys.readouterr().err
