"""`fit --publish` and `publish`: what they refuse before the expensive work, and a GAN from fit to metrics."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from service.errors import OddglyphError
from service.published import artifact
from training import cli
from training.data import DataSet

REPOSITORY = Path(__file__).parents[3]
TINY = [part for change in ("width=2", "epochs=2", "batch_size=32") for part in ("--set", change)]


def fit(recipe: str, data: Path, out: Path, *options: str) -> Result:
    arguments = ["--data", str(data), "--device", "cpu", "--out", str(out / "run"), "--models-dir", str(out / "models")]
    return CliRunner().invoke(cli.app, ["fit", recipe, *arguments, "--publish", "toy", *options])


@pytest.fixture(scope="module")
def untested_npz(tmp_path_factory: pytest.TempPathFactory, photos: DataSet) -> Path:
    path = tmp_path_factory.mktemp("data") / "untested.npz"
    np.savez(path, x_train=photos.train.pixels, y_train=photos.train.labels)
    return path


def test_a_gan_is_fitted_published_and_measured_in_one_command(photos_npz: Path, tmp_path: Path):
    result = fit("dcgan", photos_npz, tmp_path, *TINY, "--samples", "100")
    assert result.exit_code == 0, result.output
    published = artifact.load_named(tmp_path / "models", "toy")
    figures = {metric.name: metric.samples for metric in published.metrics() if metric.split != "train against test"}
    assert {"frechet_distance.lite0", "frechet_distance.cifar-net", "two_sample_accuracy.lite0"} <= figures.keys()
    assert set(figures.values()) == {100, 200}
    assert "embedding.png" in published.manifest.files
    assert published.manifest.provenance.train_seconds > 0
    again = CliRunner().invoke(
        cli.app, ["publish", str(tmp_path / "run"), "--models-dir", str(tmp_path / "models"), "--name", "toy"]
    )
    assert "already exists" in str(again.exception)


@pytest.mark.parametrize(
    ("recipe", "options", "says"),
    [
        ("dcgan", ["--samples", "151"], "expected 2 to 150"),
        ("dcgan", ["--samples", "100", "--judges-dir", "nowhere"], "network cifar-net"),
        ("dcgan", ["--samples", "100", "--network", "vgg"], "expected one of: inception"),
        ("dcgan", ["--publish", "Not A Name"], "expected lower-case words"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_training(
    recipe: str, options: list[str], says: str, photos_npz: Path, tmp_path: Path
):
    refused(fit(recipe, photos_npz, tmp_path, *options), says, tmp_path)


@pytest.mark.parametrize("recipe", ["dcgan", "cifar-net"])
def test_a_data_set_without_a_test_split_is_refused_before_the_training(
    recipe: str, untested_npz: Path, tmp_path: Path
):
    refused(fit(recipe, untested_npz, tmp_path), "expected a test split", tmp_path)


def refused(result: Result, says: str, folder: Path) -> None:
    assert isinstance(result.exception, OddglyphError), result.output
    assert says in str(result.exception)
    assert not list(folder.iterdir())
