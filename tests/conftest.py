import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Hypothesis tries the same examples every time. HYPOTHESIS_PROFILE=new tries new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", derandomize=False, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def models_dir() -> Path:
    return Path(os.environ.get("ODDGLYPH_TEST_MODELS", REPOSITORY / "models"))


@pytest.fixture(scope="session")
def digits() -> dict[str, np.ndarray]:
    """Real MNIST: x_train [400, 28, 28], y_train [400], x_test [200, 28, 28], y_test [200], ten classes evenly."""
    with np.load(Path(__file__).parent / "data" / "mnist-sample.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the full data sets, ODDGLYPH_DATA, in torchvision's layout."""
    root = os.environ.get("ODDGLYPH_DATA")
    if not root:
        pytest.skip("the full data sets are not here: set ODDGLYPH_DATA to a folder in torchvision's layout")
    return Path(root)
