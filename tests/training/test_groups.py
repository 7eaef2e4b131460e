"""Groups of images, from the files that tell them to the published detector."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from containers import write_classes
from typer.testing import CliRunner

from service.published import artifact
from service.published.conformal import Rule
from service.published.detector import Detector
from training import cli, data_sets
from training.data import DataSet
from training.errors import DataError, PublishError


def loaded(path: Path, groups: Path | str) -> DataSet:
    return data_sets.load(str(path), Path(), 32, groups=str(groups))


@pytest.fixture
def writers(tmp_path: Path, digits: dict[str, np.ndarray]) -> Path:
    """Class/writer/image.png: two writers of good images, two images each, and a bad image by none."""
    pixels = digits["x_train"]
    root = write_classes(tmp_path / "set", {"good/ann": pixels[:2], "good/bob": pixels[2:4]})
    return write_classes(root, {"bad": pixels[4:5]})


def test_folders_within_a_class_are_groups(writers: Path):
    data_set = loaded(writers, "folder")
    assert data_set.class_names == ("bad", "good")
    assert data_set.train.groups_of(data_set.indices(["good"])).tolist() == [0, 0, 1, 1]
    assert data_set.sha256 == data_sets.load(str(writers), Path(), 32).sha256
    assert data_set.groups_sha256 != data_sets.load(str(writers), Path(), 32).groups_sha256


@pytest.mark.parametrize("prefix", ["", "whole path"])
def test_a_csv_file_tells_the_groups_of_a_folder(writers: Path, tmp_path: Path, prefix: str):
    before = f"{writers.as_posix()}/" if prefix else ""
    lines = [f"{before}good/{name},{name[:3]}" for name in ("ann/000.png", "ann/001.png", "bob/000.png", "bob/001.png")]
    (tmp_path / "groups.csv").write_text("\n".join(["id,group", *lines]))
    data_set = loaded(writers, tmp_path / "groups.csv")
    assert data_set.train.groups_of(data_set.indices(["good"])).tolist() == [0, 0, 1, 1]
    assert data_set.groups_sha256 == loaded(writers, "folder").groups_sha256


def test_a_csv_file_tells_the_groups_of_an_npz(tmp_path: Path):
    np.savez(tmp_path / "set.npz", x_train=np.zeros((3, 8, 8), np.uint8), y_train=np.array(["a", "a", "b"]))
    (tmp_path / "groups.csv").write_text("id,group\nx_train[0],bob\nx_train[1],ann\n")
    data_set = loaded(tmp_path / "set.npz", tmp_path / "groups.csv")
    assert data_set.train.groups_of([0]).tolist() == [1, 0]


def test_groups_that_do_not_fit_are_refused_in_one_sentence(writers: Path, tmp_path: Path):
    (tmp_path / "groups.csv").write_text("id,group\ngood/ann/000.png,ann\n")
    with pytest.raises(DataError, match=r"expected the group of good/ann/001\.png in .*groups\.csv, got none; add it"):
        loaded(writers, tmp_path / "groups.csv")
    with pytest.raises(DataError, match=r"expected the group of ann/000\.png in the folder of its group, CLASS/GROUP/"):
        loaded(writers / "good", "folder")
    with pytest.raises(
        DataError, match=r"expected images of your own in a folder or \.npz, got mnist; leave --groups out"
    ):
        data_sets.load("mnist", Path(), 32, groups="folder")
    write_classes(writers, {"more": np.zeros((20, 8, 8), np.uint8)})
    with pytest.raises(DataError, match="groups: expected one for each of 20 normal images, got none for 20; add them"):
        loaded(writers, "folder").normal(["more"], 0)


def test_groups_lead_from_fit_to_strict_p_values(
    tmp_path: Path, digits_npz: Path, digits: dict[str, np.ndarray], fit: Callable[..., Result]
):
    groups, models = tmp_path / "writers.csv", tmp_path / "models"
    lines = [f"x_train[{index}],{index % 25}" for index in range(len(digits["x_train"]))]
    groups.write_text("\n".join(["id,group", *lines]))
    options = ("--groups", str(groups), "--set", "epochs=2", "--set", "density.epochs=1")
    result = fit(tmp_path / "run", *options, "--publish", "writers", "--models-dir", str(models))
    assert result.exit_code == 0, result.output
    assert "models that have not seen its" in result.output
    published = artifact.load(models / "writers")
    promised = published.manifest.guarantee
    assert promised is not None
    assert str(tmp_path) not in published.manifest.model_dump_json()
    assert published.manifest.provenance.groups == "writers.csv"
    assert (promised.method, promised.images, promised.groups) == ("leave-one-group-out", 200, 25)
    assert Detector(published, "cpu").decide(Rule(0.05, strict=True)).note is None
    arguments = ["evaluate", "writers", "--models-dir", str(models), "--groups", str(groups)]
    arguments += ["--data-root", str(digits_npz.parent)]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    groups.write_text(groups.read_text().replace("x_train[0],0", "x_train[0],1"))
    data_sets.load.cache_clear()  # another process reads the files anew
    changed = CliRunner().invoke(cli.app, arguments).exception
    assert isinstance(changed, PublishError)
    assert "expected the groups of the training, got others" in str(changed)
    refused = fit(tmp_path / "run", *options, "--resume").exception
    assert "another groups sha256" in str(refused)
