"""Whether the images of a stream are still like those that calibrated a detector.

Each image either has a p-value of at most a threshold or not. If the stream is as the calibration set was, that happens
no more often than a bound that holds for this one calibration set. Bets against the bound gain if it happens more often.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from service.published.conformal import CalibrationSet, binomial_tails

HORIZON = 10_000  # images in which a stream like the calibration set raises the alarm with probability DELTA at most
DELTA = 0.01
THRESHOLDS = 0.01, 0.05, 0.2  # p-values that count as small
SMALL = THRESHOLDS[1]  # what the size of the effect is told by
EXCESSES = 1.5, 2.5, 5.0  # times the bound: how much more often each bet expects small p-values
RECENT = 1_000  # images that the size of the effect is told of
MOST_WEALTH = 1e6  # far beyond the alarm; the evidence of one that has passed can fade again
HALVINGS = 40  # of the interval that holds a bound


@dataclass(frozen=True)
class Drift:
    """What is known of a stream of `images`.

    `evidence` is against its being like the calibration set. The alarm is raised when it reaches 1 / DELTA, and stays raised.
    `shift` is how far the mean score of the last RECENT images lies above that of the calibration set, in standard
    deviations of the latter; None for a group of detectors. `share` [0, 1] is how many of them have p <= SMALL. Both are
    None before the first image.
    """

    images: int
    evidence: float
    is_raised: bool
    shift: float | None
    share: float | None

    def __str__(self) -> str:
        """Return two sentences for people."""
        verdict = "are not" if self.is_raised else "may be"
        told = (
            f"The images {verdict} like the calibration images (evidence {self.evidence:.2g}, raised at {1 / DELTA:g})."
        )
        if self.share is None:
            return told
        mean = (
            "" if self.shift is None else f"have a mean score {self.shift:+.2g} standard deviations from normal, and "
        )
        return f"{told} The last {min(self.images, RECENT):,} {mean}have p <= {SMALL:g} in {self.share:.1%} of cases."


class DriftMonitor:
    """Watches the p-values and scores of one detector, or of a group of detectors, image by image.

        monitor = DriftMonitor([detector.calibration_set])
        monitor.update(scores.p_value, scores.score)
        monitor.drift.is_raised

    Evidence is half the mean over bets and over starts of the product of likelihood ratios since that start (Shiryaev and
    Roberts), divided by HORIZON. By Ville's inequality it reaches 1 / DELTA among HORIZON images of a stream like the
    calibration set with probability DELTA / 2 at most. The other half of DELTA is for the bounds, which hold together for
    the calibration set at hand: how often p <= k / (n + 1), given n calibration scores, has the distribution
    Beta(k, n + 1 - k) (Vovk, arXiv:1209.2673). Where groups are known, n is their number, an approximation. The largest
    p-value of a group of detectors is small no more often than that of the detector whose class the image is of.
    """

    def __init__(self, calibrations: Sequence[CalibrationSet]) -> None:
        least = min(len(each.scores) for each in calibrations)
        self._thresholds = np.array([each for each in THRESHOLDS if each * (least + 1) >= 1])
        bounds = np.array([_bound(each, calibrations, DELTA / 2 / len(THRESHOLDS)) for each in self._thresholds])
        pairs = [(k, rate) for k, excess in product(range(len(bounds)), EXCESSES) if (rate := excess * bounds[k]) < 1]
        self._which = np.array([k for k, _ in pairs], np.intp)
        rates, bounds = np.array([rate for _, rate in pairs]), bounds[self._which]
        self._factors = np.stack([(1 - rates) / (1 - bounds), rates / bounds])  # [p is large or small, bets]
        self._wealth = np.zeros(len(pairs))
        self._normal = _moments(calibrations[0]) if len(calibrations) == 1 else None
        self._recent: deque[tuple[float, bool]] = deque(maxlen=RECENT)
        self._images, self._is_raised = 0, False

    def update(self, p_values: NDArray[np.floating], scores: NDArray[np.floating]) -> None:
        """Take account of further images, by their plain p-values [N] and scores [N]."""
        is_small = (p_values[:, None] <= self._thresholds).astype(np.intp)[:, self._which]  # [N, bets]
        for ratios in np.take_along_axis(self._factors, is_small, axis=0):
            self._wealth = np.minimum((self._wealth + 1 / HORIZON) * ratios, MOST_WEALTH)
            self._is_raised = self._is_raised or self._evidence >= 1 / DELTA
        self._images += len(scores)
        self._recent.extend(zip(scores.tolist(), (p_values <= SMALL).tolist(), strict=True))

    @property
    def drift(self) -> Drift:
        """What is known so far."""
        if not self._recent:
            return Drift(0, 0.0, is_raised=False, shift=None, share=None)
        scores, is_small = zip(*self._recent, strict=True)
        shift = None
        if self._normal:
            mean, deviation = self._normal
            shift = (float(np.mean(scores)) - mean) / deviation
        return Drift(self._images, self._evidence, self._is_raised, shift, float(np.mean(is_small)))

    @property
    def _evidence(self) -> float:
        return float(self._wealth.mean()) / 2 if len(self._wealth) else 0.0


def _bound(threshold: float, calibrations: Sequence[CalibrationSet], level: float) -> float:
    """Return how often p <= `threshold` at most, but for a probability of `level` over all `calibrations` together."""
    counts = [each.group_count or len(each.scores) for each in calibrations]
    return max(_beta_quantile(count, threshold, level / len(counts)) for count in counts)


def _beta_quantile(count: int, threshold: float, level: float) -> float:
    """Return the quantile 1 - `level` of Beta(k, n + 1 - k), k = ceil(threshold * (n + 1)), for n = `count`."""
    rank = int(np.ceil(threshold * (count + 1)))
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if binomial_tails(count, middle)[rank] >= 1 - level else (middle, high)
    return high


def _moments(calibration: CalibrationSet) -> tuple[float, float]:
    """Return the mean and the standard deviation of calibration scores; 1.0 for a deviation of 0."""
    return float(np.mean(calibration.scores)), float(np.std(calibration.scores)) or 1.0
