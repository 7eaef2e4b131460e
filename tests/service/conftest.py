import pytest
from artifacts import write_detector, write_generator
from containers import COUNT

from service import images


@pytest.fixture(scope="session")
def models(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("models")
    for digit in (0, 1):
        write_detector(folder / f"mnist-{digit}", digits["x_train"][digits["y_train"] == digit])
    write_generator(folder / "colours")
    return folder


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
