"""The service on small models, for commands that ask it a lot."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
from artifacts import write_detector, write_generator
from servers import serving

SAMPLE = Path(__file__).parents[1] / "data" / "mnist-sample.npz"


@contextlib.contextmanager
def small_service(workers: int = 1) -> Iterator[httpx.Client]:
    """Yield a client of the service on two detectors, which make a group, and a generator."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        with np.load(SAMPLE) as arrays:
            pixels, labels = arrays["x_train"], arrays["y_train"]
        for label in (0, 1):
            write_detector(models / f"mnist-{label}", pixels[labels == label], normal_class=str(label))
        write_generator(models / "colours")
        with serving(Path(folder), ODDGLYPH_MODELS=str(models), ODDGLYPH_WORKERS=str(workers)) as client:
            yield client
