from pathlib import Path

import numpy as np
import pytest

from training.data import DataSet, Split

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="session")
def photos() -> DataSet:
    """Real CIFAR-10: 150 training and 150 test images [32, 32, 3], ten classes evenly."""
    with np.load(Path(__file__).parents[1] / "data" / "cifar10-sample.npz") as arrays:
        splits = [Split(arrays[f"x_{part}"], arrays[f"y_{part}"].astype(np.int64)) for part in ("train", "test")]
    return DataSet("cifar10-sample", CLASS_NAMES, *splits)
