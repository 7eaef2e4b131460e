"""The command `oddglyph calibrate`, run as a user runs it: the detector it writes, and what it refuses."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from servers import REPOSITORY
from tables import in_csv

from service.published import artifact


def test_calibrated_on_ones_own_images_alarms_hold_for_those(oddglyph, linear_models, digits):
    shutil.copytree(linear_models, "models")
    bold = ndimage.grey_dilation(digits["x_train"][digits["y_train"] == 0], size=(1, 4, 4))
    np.save("bold.npy", bold)
    arguments = "calibrate", "bold.npy", "--models-dir", "models", "--name", "bold-0"
    status, out, err = oddglyph(*arguments)
    assert (status, out, err.count("\n")) == (0, "", 2)
    alarms = [row["is_anomaly"] for row in in_csv(oddglyph("score", "bold.npy")[1])].count("true")
    assert alarms > 0.2 * len(bold)
    first, doubt = err.splitlines()
    assert first.startswith(f"normal images: {len(bold)}, of which mnist-0 calls {alarms} anomalies")
    assert doubt.startswith(f"warning: mnist-0: {alarms} of {len(bold)} images raise an alarm, where about 2 are due")
    rows = in_csv(oddglyph("score", "bold.npy", "--models-dir", "models", "--model", "bold-0")[1])
    p_values = np.array([float(row["p_value"]) for row in rows])
    ranks = np.argsort(np.argsort([-float(row["score"]) for row in rows]))
    np.testing.assert_allclose(p_values, (2 + ranks) / (1 + len(bold)))
    made = artifact.load(Path("models/bold-0"))
    assert made.manifest.calibration.model_dump(exclude={"created"}) == {
        "base": "mnist-0",
        "sources": ("bold.npy",),
        "invert": False,
        "images": len(bold),
        "groups": None,
        "excluded": 0,
    }
    assert oddglyph(*arguments)[2].startswith("oddglyph: error: models/bold-0: already exists")
    assert oddglyph(*arguments, "--replace")[0] == 0


def test_what_the_former_calibration_decided_is_left_out(oddglyph):
    shutil.copytree(REPOSITORY / "models" / "mnist-0", "models/mnist-0")
    np.save("noise.npy", np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8))
    assert oddglyph("calibrate", "noise.npy", "--models-dir", "models", "--name", "other")[0] == 0
    base, made = (artifact.load(Path("models") / name) for name in ("mnist-0", "other"))
    assert base.manifest.files.keys() - made.manifest.files.keys() == {"scores.png"}
    dropped = {metric.name for metric in base.metrics()} - {metric.name for metric in made.metrics()}
    assert dropped == {f"{rate}_rate.alpha_{alpha}" for rate in ("false_alarm", "detection") for alpha in (0.01, 0.05)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["few.npy", "--name", "few"], "normal images: expected at least 20 readable images, got 19; add some"),
        (["text.txt", "--name", "text"], "images: none can be read; the first is text.txt: "),
        (["few.npy", "--name", "../few"], "name '../few': expected lower-case words and digits joined by hyphens"),
        (["few.npy", "--name", "mnist-1"], "models/mnist-1: already exists"),
        (["few.npy", "--name", "few", "--model", "colours"], "models/colours: expected a detector, got a generator"),
    ],
)
def test_what_cannot_be_calibrated_is_one_sentence_and_leaves_nothing(
    arguments, sentence, oddglyph, linear_models, digits
):
    shutil.copytree(linear_models, "models")
    np.save("few.npy", digits["x_test"][:19])
    Path("text.txt").write_text("text")
    status, out, err = oddglyph("calibrate", *arguments, "--models-dir", "models")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"oddglyph: error: {sentence}")
    assert {path.name for path in Path("models").iterdir()} == {path.name for path in linear_models.iterdir()}


def test_a_folder_that_cannot_be_written_to_is_named(oddglyph, linear_models, digits, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("service.published.artifact.tempfile.TemporaryDirectory", refuse)
    np.save("few.npy", digits["x_test"][:30])
    status, _, err = oddglyph("calibrate", "few.npy", "--name", "few")
    assert status == 1
    assert err == (
        f"oddglyph: error: {linear_models}: cannot be written: Permission denied; give another --models-dir\n"
    )
