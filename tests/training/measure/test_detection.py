import numpy as np
import pytest
from scipy.stats import betabinom

from training.measure.detection import false_alarm_interval


def test_false_alarm_interval_holds_what_it_says():
    # The alarm rate at the k-th largest of n uniform calibration scores is the k-th smallest of n uniforms.
    low, high = false_alarm_interval(1000, 0.01, judged=500)
    rng = np.random.default_rng(0)
    rates = np.sort(rng.random((4000, 1000)), axis=1)[:, 9]
    shares = rng.binomial(500, rates) / 500
    assert np.mean((low <= shares) & (shares <= high)) >= 0.94
    assert np.mean((low < shares) & (shares < high)) <= 0.96  # counts are whole: the ends hold more


def test_false_alarm_interval_is_beta_binomial():
    low, high = false_alarm_interval(99, 0.05, judged=200)
    law = betabinom(200, 5, 95)
    assert law.cdf(low * 200 - 1) < 0.025 <= law.cdf(low * 200)
    assert law.cdf(high * 200 - 1) < 0.975 <= law.cdf(high * 200)
    assert law.mean() == pytest.approx(10)


def test_too_few_calibration_images_can_never_raise_an_alarm():
    assert false_alarm_interval(10, 0.05, judged=100) == (0, 0)
