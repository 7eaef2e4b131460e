import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import images
from service.errors import DeviceError, NoReconstructionError
from service.published import artifact
from service.published.conformal import Rule, conformal_p_values
from service.published.detector import Detector
from service.published.onnx_model import cuda_is_usable, relative_difference

floats = st.floats(-1e6, 1e6, width=32)


@pytest.fixture(scope="module")
def detector(linear_models) -> Detector:
    return Detector(artifact.load(linear_models / "mnist-0"), "cpu", 1)


@given(st.lists(floats, min_size=1), st.lists(floats, min_size=1, max_size=50))
def test_p_values_count_the_calibration_scores_that_are_at_least_as_high(scores: list[float], calibration: list[float]):
    ordered = np.sort(np.array(calibration, np.float32))
    found = conformal_p_values(np.array(scores, np.float32), ordered)
    by_hand = [(1 + sum(c >= s for c in ordered)) / (len(ordered) + 1) for s in np.array(scores, np.float32)]
    np.testing.assert_allclose(found, by_hand)
    assert np.all((found > 0) & (found <= 1))


def test_p_values_of_normal_images_are_uniform_at_worst():
    rng = np.random.default_rng(0)
    alarms = [
        np.mean(
            conformal_p_values(rng.normal(size=200).astype(np.float32), np.sort(rng.normal(size=99)).astype(np.float32))
            <= 0.1
        )
        for _ in range(500)
    ]
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.005)


def test_higher_scores_are_odder(detector: Detector, digits):
    scores = detector.score(images.fit(digits["x_test"], 32))
    order = np.argsort(scores.score)
    assert np.all(np.diff(scores.p_value[order]) <= 0)
    zeros = digits["y_test"] == 0
    assert scores.score[zeros].mean() < scores.score[~zeros].mean()


def test_an_anomaly_has_a_p_value_of_at_most_alpha(detector: Detector, digits):
    scores = detector.score(images.fit(digits["x_test"], 32))
    assert np.array_equal(scores.is_anomaly(0.1), scores.p_value <= 0.1)
    assert scores.is_anomaly(0.5).sum() > scores.is_anomaly(0.1).sum()


def test_a_detector_without_an_autoencoder_gives_the_same_verdicts(linear_models, detector: Detector, digits):
    plain, pixels = Detector(artifact.load(linear_models / "verdict-0"), "cpu", 1), images.fit(digits["x_test"], 32)
    found, expected = plain.score(pixels), detector.score(pixels)
    np.testing.assert_array_equal(found.score, expected.score)
    np.testing.assert_array_equal(found.p_value, expected.p_value)
    assert np.isnan(found.l_con).all()
    assert {(row.l_con, row.latent) for row in found.rows(map(str, range(len(pixels))), plain.decide(Rule()))} == {
        (None, None)
    }
    np.testing.assert_array_equal(plain.compare(pixels), detector.compare(pixels)[:, :2])
    with pytest.raises(NoReconstructionError, match="model verdict-0: expected a detector with an autoencoder"):
        plain.reconstruct(pixels)


def test_no_images_have_no_scores(detector: Detector):
    assert detector.score(np.empty((0, 32, 32), np.uint8)).p_value.shape == (0,)


def test_large_batches_are_cut_and_joined_in_order(detector: Detector, digits):
    pixels = images.fit(np.concatenate([digits["x_train"], digits["x_test"]]), 32)
    together = detector.score(pixels).score
    assert len(together) == 600
    np.testing.assert_allclose(
        together[[0, 255, 256, 599]], detector.score(pixels[[0, 255, 256, 599]]).score, rtol=1e-5
    )


@pytest.mark.skipif(cuda_is_usable(), reason="this machine has a CUDA GPU")
def test_a_demanded_but_missing_gpu_is_one_sentence(linear_models):
    with pytest.raises(DeviceError, match="device cuda: expected a usable CUDA GPU, found none"):
        Detector(artifact.load(linear_models / "mnist-0"), "cuda")


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        (np.float32([1, 2]), np.float32([1, 2]), 0),
        (np.float32([0.5]), np.float32([0]), 0.5),
        (np.float32([110]), np.float32([100]), 0.1),
        (np.uint8([7]), np.uint8([8]), 0),
        (np.uint8([5]), np.uint8([8]), 2 / 255),
        (np.float32([1]), np.float32([1, 2]), np.inf),
        (np.float32([np.nan]), np.float32([1]), np.inf),
        (np.float64([1]), np.float32([1]), np.inf),
    ],
)
def test_relative_difference(found: np.ndarray, expected: np.ndarray, difference: float):
    assert relative_difference(found, expected) == pytest.approx(difference)
