import numpy as np
import pytest
from scipy.stats import beta, binom

from training.measure.detection import false_alarm_interval


def test_false_alarm_interval_is_that_of_an_order_statistic():
    # The alarm rate at the k-th largest of n uniform calibration scores is the k-th smallest of n uniforms.
    low, high = false_alarm_interval(1000, 0.01)
    rates = np.sort(np.random.default_rng(0).random((4000, 1000)), axis=1)[:, 9]
    assert abs(np.mean((low <= rates) & (rates <= high)) - 0.95) < 0.015


def test_false_alarm_interval_agrees_with_the_binomial_law():
    # P(k-th smallest of n uniforms <= r) = P(Binomial(n, r) >= k), here n = 99, k = 5.
    low, high = false_alarm_interval(99, 0.05)
    assert binom.sf(4, 99, low) == pytest.approx(0.025)
    assert binom.sf(4, 99, high) == pytest.approx(0.975)
    assert beta.mean(5, 95) == pytest.approx(0.05)


def test_too_few_calibration_images_can_never_raise_an_alarm():
    assert false_alarm_interval(10, 0.05) == (0, 0)
