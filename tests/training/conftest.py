from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from fitting import fit_arguments
from typer.testing import CliRunner

from training import cli
from training.data import DataSet, Split
from training.density import fitting

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Fit = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread, so that sums have one order here and in processes with OMP_NUM_THREADS=1."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _few_are_many() -> Iterator[None]:
    """Calibrate toy data sets as large ones are calibrated, which takes a sixth of the time; a test of its own refits."""
    refitted, fitting.REFITTED = fitting.REFITTED, 0
    yield
    fitting.REFITTED = refitted


@pytest.fixture(scope="session")
def digits_npz(tmp_path_factory: pytest.TempPathFactory, digits: dict[str, np.ndarray]) -> Path:
    """Real digits as a user's own data set of two classes: "low" (0 to 4, normal) and "high"."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    names = {f"y_{split}": np.where(digits[f"y_{split}"] < 5, "low", "high") for split in ("train", "test")}
    np.savez(path, x_train=digits["x_train"], x_test=digits["x_test"], **names)
    return path


@pytest.fixture(scope="session")
def fit(digits_npz: Path) -> Fit:
    """Run `oddglyph-train fit` on `digits_npz` at toy size."""
    return lambda out, *options: CliRunner().invoke(cli.app, fit_arguments(digits_npz, out, *options))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, fit: Fit) -> Path:
    """A run folder of a finished toy training."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    result = fit(out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="session")
def photos() -> DataSet:
    """Real CIFAR-10: 150 training and 150 test images [32, 32, 3], ten classes evenly."""
    with np.load(Path(__file__).parents[1] / "data" / "cifar10-sample.npz") as arrays:
        splits = [Split(arrays[f"x_{part}"], arrays[f"y_{part}"].astype(np.int64)) for part in ("train", "test")]
    return DataSet("cifar10-sample", CLASS_NAMES, *splits)


@pytest.fixture(scope="session")
def photos_npz(tmp_path_factory: pytest.TempPathFactory, photos: DataSet) -> Path:
    """`photos` as a user's own data set."""
    path = tmp_path_factory.mktemp("data") / "photos.npz"
    train, test = photos.train, photos.test
    np.savez(path, x_train=train.pixels, y_train=train.labels, x_test=test.pixels, y_test=test.labels)
    return path
