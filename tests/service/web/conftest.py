import pytest
from artifacts import write_generator
from browser import browsing
from servers import serving

from service import images


@pytest.fixture(scope="session")
def client(tmp_path_factory, models_dir):
    """A client of a service with the shipped detectors of 0 and 1, and a small generator."""
    folder = tmp_path_factory.mktemp("served")
    for name in ("mnist-0", "mnist-1"):
        (folder / name).symlink_to(models_dir.resolve() / name)
    write_generator(folder / "colours")
    settings = {"ODDGLYPH_MODELS": str(folder), "ODDGLYPH_WORKERS": "1"}
    with serving(tmp_path_factory.mktemp("bentoml"), **settings) as client:
        yield client


@pytest.fixture(scope="session")
def browser(client, tmp_path_factory):
    with browsing(str(client.base_url).rstrip("/"), tmp_path_factory.mktemp("downloads")) as browser:
        yield browser


@pytest.fixture(scope="session")
def digit_files(tmp_path_factory, digits):
    """Forty digits as PNG files, named by class and number."""
    folder = tmp_path_factory.mktemp("digits")
    paths = []
    for number, (pixels, digit) in enumerate(zip(digits["x_test"][:40], digits["y_test"][:40], strict=True)):
        paths.append(folder / f"{digit}-{number:02}.png")
        paths[-1].write_bytes(images.encode_png(pixels))
    return paths


@pytest.fixture(scope="session")
def zero_file(digit_files):
    return next(path for path in digit_files if path.name.startswith("0-"))


@pytest.fixture(scope="session")
def odd_file(digit_files, client):
    """The digit that mnist-0 finds the oddest."""
    files = [("images", (path.name, path.read_bytes())) for path in digit_files]
    results = client.post("/score", files=files).json()["results"]
    return digit_files[max(range(len(results)), key=lambda index: results[index]["score"])]
