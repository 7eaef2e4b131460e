import numpy as np
import pytest

from training.measure import distances


def gaussian(count: int, mean: float, deviation: float, seed: int) -> np.ndarray:
    draws = np.random.default_rng(seed).standard_normal((count, 4))
    whitened = (draws - draws.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(draws.T))).T
    return (mean + deviation * whitened).astype(np.float32)  # sample mean and covariance are exact


def test_frechet_distance_of_gaussians_is_the_closed_form():
    found = distances.frechet_distance(gaussian(200, 0, 1, 0), gaussian(300, 2, 3, 1))
    assert found == pytest.approx(4 * 2**2 + 4 * (1 - 3) ** 2, rel=1e-4)


def test_frechet_distance_sees_correlation_that_single_dimensions_do_not():
    left, right = gaussian(500, 0, 1, 0), gaussian(500, 0, 1, 1)
    mixing = np.linalg.cholesky(np.array([[1, 0.8, 0, 0], [0.8, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])).T
    eigenvalues = np.array([1.8, 0.2])
    expected = np.sum(1 + eigenvalues - 2 * np.sqrt(eigenvalues))
    assert distances.frechet_distance(left, (right @ mixing).astype(np.float32)) == pytest.approx(expected, rel=1e-3)


def test_identical_sets_have_no_distance():
    features = gaussian(200, 1, 2, 0)
    assert distances.frechet_distance(features, features) == pytest.approx(0, abs=1e-5)
    assert distances.precision_recall(features, features) == (1, 1)


def test_frechet_distance_is_symmetric_and_grows_with_the_shift():
    real = gaussian(200, 0, 1, 0)
    near, far = gaussian(200, 0.5, 1, 1), gaussian(200, 1.5, 1, 1)
    assert distances.frechet_distance(real, near) < distances.frechet_distance(real, far)
    assert distances.frechet_distance(real, near) == pytest.approx(distances.frechet_distance(near, real), rel=1e-6)


def test_inception_score_is_1_if_undecided_and_the_number_of_classes_if_sure_and_varied():
    undecided = np.zeros((1000, 10), np.float32)
    sure = 100 * np.eye(10, dtype=np.float32)[np.arange(20_000) % 10]
    one_class = 100 * np.eye(10, dtype=np.float32)[np.zeros(1000, int)]
    assert distances.inception_score(undecided) == pytest.approx((1, 0))
    assert distances.inception_score(sure)[0] == pytest.approx(10, rel=0.02)  # splits hold the classes almost evenly
    assert distances.inception_score(one_class)[0] == pytest.approx(1)


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    estimates = [distances.kernel_distance(*rng.standard_normal((2, 100, 8)).astype(np.float32))[0] for _ in range(60)]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates)) < 4 * error
    assert min(estimates) < 0 < max(estimates)


def test_kernel_distance_is_the_polynomial_mmd():
    left, right = gaussian(30, 0, 1, 0).astype(float), gaussian(30, 1, 1, 1).astype(float)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / 4 + 1) ** 3

    def off_diagonal(x: np.ndarray) -> float:
        return (kernel(x, x).sum() - np.trace(kernel(x, x))) / (30 * 29)

    expected = off_diagonal(left) + off_diagonal(right) - 2 * kernel(left, right).mean()
    mean, deviation = distances.kernel_distance(left.astype(np.float32), right.astype(np.float32))
    assert mean == pytest.approx(expected, rel=1e-4)
    assert deviation == pytest.approx(0, abs=1e-6)


def test_precision_falls_with_bad_images_and_recall_with_missing_ones():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(0, 1, (200, 2)), rng.normal(20, 1, (200, 2))]).astype(np.float32)
    one_mode = rng.normal(0, 1, (400, 2)).astype(np.float32)
    half_bad = np.concatenate([real[::2], rng.normal(-50, 1, (200, 2))]).astype(np.float32)
    precision, recall = distances.precision_recall(real, one_mode)
    assert precision > 0.9
    assert recall == pytest.approx(0.5, abs=0.1)
    precision, recall = distances.precision_recall(real, half_bad)
    assert precision == pytest.approx(0.5, abs=0.1)
    assert recall > 0.9


def test_two_sample_accuracy_is_a_half_for_one_distribution_1_for_two_and_0_for_copies():
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 1000, 3)).astype(np.float32)
    assert distances.two_sample_accuracy(left, right) == pytest.approx(0.5, abs=0.05)
    assert distances.two_sample_accuracy(left, right + 100) == 1
    assert distances.two_sample_accuracy(left, left + 1e-6) == 0
