from pathlib import Path

import numpy as np
import pytest
from artifacts import write_detector

from service.errors import ArtifactError
from service.published import artifact
from service.published.conformal import CalibrationSet
from service.published.guarantee import guarantee, guarantee_of


def test_a_guarantee_tells_how_many_images_and_groups_stand_behind_it():
    found = guarantee("held-out groups", CalibrationSet(np.zeros(99, np.float32), np.arange(99) // 10))
    assert (found.images, found.groups) == (99, 10)
    assert (found.smallest_p_value, found.smallest_strict_p_value) == (1 / 100, 1 / 11)
    alone = guarantee("held-out images", CalibrationSet(np.zeros(99, np.float32)))
    assert (alone.groups, alone.smallest_strict_p_value) == (None, None)


def test_detectors_that_say_nothing_were_calibrated_on_random_images(models_dir: Path):
    found = guarantee_of(artifact.load(models_dir / "mnist-0"))
    assert (found.method, found.images, found.groups) == ("held-out images", 1000, None)


def test_the_group_of_each_calibration_score_is_kept_in_order_of_the_scores(tmp_path: Path):
    (tmp_path / artifact.DETECTOR_GRAPH).touch()
    artifact.write_calibration(tmp_path, [3.0, 1.0, 2.0], np.array([7, 5, 6]))
    with np.load(tmp_path / "calibration.npz") as arrays:
        assert (arrays["score"].tolist(), arrays["group"].tolist()) == ([1, 2, 3], [5, 6, 7])


@pytest.mark.parametrize("groups", [np.zeros(3, np.int64), np.zeros(20)], ids=["too few", "fractions"])
def test_wrong_groups_in_a_calibration_file_are_refused(groups: np.ndarray, tmp_path: Path, zeros: np.ndarray):
    path = write_detector(tmp_path / "mnist-0", zeros)
    scores = artifact.load(path).calibration()
    np.savez(path / "calibration.npz", score=scores, group=groups)
    manifest = artifact.read_manifest(path)
    (path / "manifest.json").unlink()
    artifact.seal(path, manifest)
    with pytest.raises(ArtifactError, match=r"calibration.npz: expected a group for each of 20 scores, got "):
        artifact.load(path).calibration_set()
