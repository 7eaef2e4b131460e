import shutil

import numpy as np
import pytest

from service import images
from tests.artifacts import write_detector, write_generator
from tests.containers import COUNT
from tests.servers import serving


@pytest.fixture(scope="session")
def models(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("models")
    for digit in (0, 1):
        write_detector(folder / f"mnist-{digit}", digits["x_train"][digits["y_train"] == digit])
    write_generator(folder / "colours")
    return folder


@pytest.fixture(scope="session")
def served_models(tmp_path_factory, models):
    """`models` and an unconditional generator, which comes first by name but is not the default."""
    folder = tmp_path_factory.mktemp("served") / "models"
    shutil.copytree(models, folder)
    write_generator(folder / "black-and-white", conditional=False)
    return folder


@pytest.fixture(scope="session")
def client(tmp_path_factory, served_models):
    """A client of the service, started on `served_models` as a user would."""
    with serving(tmp_path_factory.mktemp("bentoml"), ODDGLYPH_MODELS=str(served_models)) as client:
        yield client


@pytest.fixture(scope="session")
def uploads(digits):
    """Five test zeros and five other digits, each the bytes of a PNG file."""
    zeros = digits["x_test"][digits["y_test"] == 0][:5]
    others = digits["x_test"][digits["y_test"] > 0][:5]
    return [images.encode_png(image) for image in np.concatenate([zeros, others])]


@pytest.fixture
def pngs(tmp_path, digits):
    """Twenty digits in a folder, beside one file that is no image."""
    (tmp_path / "digits").mkdir()
    for number, image in enumerate(digits["x_test"][:20]):
        (tmp_path / "digits" / f"{number:02}.png").write_bytes(images.encode_png(image))
    (tmp_path / "digits" / "99.png").write_bytes(b"no image")
    return tmp_path / "digits"


@pytest.fixture(scope="session")
def pixels(digits):
    return digits["x_test"][:COUNT]
