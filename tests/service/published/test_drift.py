"""Drift: the alarm keeps its promise on simulated streams, and comes soon where images change."""

import numpy as np
import pytest
from scipy.stats import beta

from service.published import drift
from service.published.conformal import CalibrationSet, conformal_p_values
from service.published.drift import DELTA, HORIZON, DriftMonitor

RUNS = 30


def monitor_of(rng, count):
    scores = np.sort(rng.normal(size=count)).astype(np.float32)
    monitor = DriftMonitor([CalibrationSet(scores)])
    return monitor, lambda stream: monitor.update(conformal_p_values(stream, scores), stream)


def raised_after(rng, count, draw):
    monitor, see = monitor_of(rng, count)
    while not monitor.drift.is_raised and monitor.drift.images < 3_000:
        see(draw())
    return monitor.drift.images if monitor.drift.is_raised else np.inf


@pytest.mark.parametrize("count", [20, 100, 1_000])
def test_normal_streams_raise_no_alarm(count):
    """With probability DELTA each at most: of 30 runs more than 2 have a probability below 0.004."""
    rng = np.random.default_rng(count)
    raised = 0
    for _ in range(RUNS):
        monitor, see = monitor_of(rng, count)
        see(rng.normal(size=HORIZON))
        raised += monitor.drift.is_raised
    assert raised <= 2


def test_one_anomaly_in_ten_is_noticed():
    rng = np.random.default_rng(0)

    def draw():
        images = rng.normal(size=20)
        images[:2] += 5
        return images

    after = [raised_after(rng, 1_000, draw) for _ in range(RUNS)]
    assert np.median(after) <= 300
    assert max(after) <= 1_000


def test_a_shift_of_half_a_deviation_is_noticed():
    rng = np.random.default_rng(1)
    after = [raised_after(rng, 1_000, lambda: rng.normal(0.5, size=20)) for _ in range(RUNS)]
    assert np.median(after) <= 600


def test_a_few_calibration_images_prove_little_and_raise_nothing():
    monitor, see = monitor_of(np.random.default_rng(0), 20)
    see(np.full(50, -9.0))
    assert monitor.drift.evidence < 1
    assert not monitor.drift.is_raised


@pytest.mark.parametrize(("count", "threshold"), [(1_000, 0.05), (300, 0.01), (99, 0.2), (6_000, 0.05)])
def test_bounds_are_quantiles_of_the_beta_distribution(count, threshold):
    rank = int(np.ceil(threshold * (count + 1)))
    expected = beta.ppf(1 - 0.001, rank, count + 1 - rank)
    calibration = CalibrationSet(np.arange(count, dtype=np.float32))
    assert drift._bound(threshold, [calibration], 0.001) == pytest.approx(expected, rel=1e-6)
    assert drift._bound(threshold, [calibration] * 2, 0.002) == pytest.approx(expected, rel=1e-6)


def test_groups_count_where_they_are_known():
    scores, groups = np.arange(1_000, dtype=np.float32), np.repeat(np.arange(100), 10)
    by_groups = drift._bound(0.05, [CalibrationSet(scores, groups)], DELTA)
    assert by_groups == drift._bound(0.05, [CalibrationSet(scores[:100])], DELTA)


def test_the_alarm_stays_and_the_size_is_of_the_last_images():
    monitor, see = monitor_of(np.random.default_rng(0), 1_000)
    assert monitor.drift == drift.Drift(0, 0.0, is_raised=False, shift=None, share=None)
    see(np.full(200, 3.0))
    assert monitor.drift.is_raised
    assert monitor.drift.shift == pytest.approx(3, abs=0.2)
    assert monitor.drift.share == 1
    see(np.zeros(drift.RECENT))
    assert monitor.drift.is_raised
    assert monitor.drift.evidence < 1 / DELTA
    assert monitor.drift.shift == pytest.approx(0, abs=0.2)
    assert monitor.drift.share == 0
    assert monitor.drift.images == 1_200


def test_drift_in_words():
    monitor, see = monitor_of(np.random.default_rng(0), 1_000)
    assert str(monitor.drift) == "The images may be like the calibration images (evidence 0, raised at 100)."
    see(np.full(40, 3.0))
    assert str(monitor.drift).startswith("The images are not like the calibration images (evidence ")
    assert "The last 40 have a mean score +3" in str(monitor.drift)
    assert str(monitor.drift).endswith("standard deviations from normal, and have p <= 0.05 in 100.0% of cases.")
