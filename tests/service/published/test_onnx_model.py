"""A graph runs, and ONNX Runtime sends no usage report."""

import os
import subprocess
import sys

import numpy as np
from artifacts import write_detector
from servers import REPOSITORY

LOAD = """
import pathlib, sys
from service.published import artifact, detector
detector.Detector(artifact.load(pathlib.Path(sys.argv[1])), "cpu", 1)
"""


def test_loading_a_model_leaves_no_trace_of_telemetry(tmp_path):
    home, model = tmp_path / "home", write_detector(tmp_path / "models" / "any", np.zeros((40, 28, 28), np.uint8))
    home.mkdir()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment = inherited | {"HOME": str(home), "TMPDIR": str(home)}
    subprocess.run([sys.executable, "-c", LOAD, str(model)], cwd=REPOSITORY, env=environment, timeout=60, check=True)
    assert list(home.rglob("*")) == []
