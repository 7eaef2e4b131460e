import sys

import numpy as np
import pytest
from artifacts import write_detector, write_generator
from containers import COUNT
from servers import serving

from service import cli
from service.images import encode_png


@pytest.fixture(scope="session")
def zeros(digits):
    return digits["x_train"][digits["y_train"] == 0]


@pytest.fixture(scope="session")
def linear_models(tmp_path_factory, zeros, digits):
    """A folder of small models: three detectors (default: mnist-0) and two generators (default: colours).

    mnist-0 is calibrated on 20 images, mnist-1 on 20 images in 10 groups. verdict-0 has no autoencoder.
    """
    folder = tmp_path_factory.mktemp("models")
    write_detector(folder / "mnist-0", zeros)
    write_detector(folder / "mnist-1", digits["x_train"][digits["y_train"] == 1], normal_class="1", a_group=2)
    write_detector(folder / "verdict-0", zeros, reconstructs=False)
    write_generator(folder / "colours")
    write_generator(folder / "black-and-white", conditional=False)
    return folder


@pytest.fixture(scope="session")
def client(tmp_path_factory, linear_models):
    """A client of a service that serves `linear_models`, started as a user starts it."""
    with serving(tmp_path_factory.mktemp("bentoml"), ODDGLYPH_MODELS=str(linear_models)) as client:
        yield client


@pytest.fixture(scope="session")
def pngs(digits):
    """Five test zeros and five other digits as PNG files."""
    zeros = digits["x_test"][digits["y_test"] == 0][:5]
    others = digits["x_test"][digits["y_test"] > 0][:5]
    return [encode_png(image) for image in np.concatenate([zeros, others])]


@pytest.fixture
def png_folder(tmp_path, digits):
    """A folder of twenty digits and one file that is no image."""
    (tmp_path / "digits").mkdir()
    for number, image in enumerate(digits["x_test"][:20]):
        (tmp_path / "digits" / f"{number:02}.png").write_bytes(encode_png(image))
    (tmp_path / "digits" / "99.png").write_bytes(b"no image")
    return tmp_path / "digits"


@pytest.fixture(scope="session")
def pixels(digits):
    return digits["x_test"][:COUNT]


@pytest.fixture
def oddglyph(linear_models, tmp_path, monkeypatch, capsys):
    """Run the command in this process and in tmp_path; return (exit status, standard output, standard error)."""
    monkeypatch.setenv("ODDGLYPH_MODELS", str(linear_models))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["oddglyph", *arguments])
        status = 0
        try:
            cli.main()
        except SystemExit as exit_:
            status = exit_.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return run
