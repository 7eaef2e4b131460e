"""Conformal p-values: how many normal images are as odd, read by a rule, and what a calibration set cannot promise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import ValueRangeError

DEFAULT_ALPHA = 0.05
MOST_NAMED = 10**9  # a sentence that asks for more calibration images than this helps nobody

Floats = NDArray[np.float32]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """When an image is an anomaly: if its p-value is at most `alpha`.

    `strict` takes p-values that are valid for an image of a new group, such as an unknown writer. `confidence`, such as 0.95,
    lowers the threshold, so that with this probability the calibration set at hand keeps the rate alpha. Without it the rate
    holds on average over calibration sets.
    """

    alpha: float = DEFAULT_ALPHA
    strict: bool = False
    confidence: float | None = None


@dataclass(frozen=True)
class CalibrationSet:
    """Scores [n] of normal images in ascending order and, where groups are known, the group of each image [n]."""

    scores: Floats
    groups: NDArray[np.int64] | None = None

    @property
    def group_count(self) -> int | None:
        """Number of groups, None where they are not known."""
        return None if self.groups is None else len(np.unique(self.groups))

    def size(self, rule: Rule) -> int:
        """Return how many independent parts `rule` counts: groups where it asks for them, else images."""
        return self.group_count or len(self.scores) if _by_groups(rule) else len(self.scores)

    def table(self, rule: Rule) -> Probabilities:
        """Return p-values [n + 1] under `rule`, by the number of calibration scores that are at least as high.

        Without groups p = (1 + count) / (n + 1). A strict p-value is (1 + sum over groups of the share of their images that is
        counted) / (groups + 1), hierarchical conformal prediction (Lee, Barber and Willett, arXiv:2306.06342): for an image of a
        new group P(p <= alpha) <= alpha. With `confidence` one image of each group counts, since the others depend on it.
        """
        counted = np.cumsum(self._weights(rule)[::-1])
        return np.round(np.concatenate([[1.0], 1 + counted]), 9) / (self.size(rule) + 1)

    def threshold(self, rule: Rule) -> float:
        """Return the largest p-value that is an anomaly; 0.0 where `rule.confidence` cannot be had."""
        if rule.confidence is None:
            return rule.alpha
        size = self.size(rule)
        return confident_rank(size, rule.alpha, rule.confidence) / (size + 1)

    def _weights(self, rule: Rule) -> Probabilities:
        """Return how much each image [n] counts, in order of score."""
        if self.groups is None or not _by_groups(rule):
            return np.ones(len(self.scores))
        if rule.strict:
            _, places, counts = np.unique(self.groups, return_inverse=True, return_counts=True)
            return np.asarray(1 / counts[places], np.float64)
        order = np.random.default_rng(0).permutation(len(self.groups))
        weights = np.zeros(len(self.groups))
        weights[order[np.unique(self.groups[order], return_index=True)[1]]] = 1
        return weights


@dataclass(frozen=True)
class Decision:
    """How p-values of one or several detectors are read: a `table` of each, and the largest p-value that is an anomaly.

    `note` says why no image can be an anomaly, None where some can.
    """

    tables: tuple[Probabilities, ...]
    threshold: float
    note: str | None = None

    def p_values(self, plain: Probabilities) -> Probabilities:
        """Return the p-values [N, detectors] in place of `plain` ones, (1 + count) / (n + 1)."""
        counts = [np.rint(p * len(table)).astype(int) - 1 for p, table in zip(plain.T, self.tables, strict=True)]
        return np.stack([table[count] for count, table in zip(counts, self.tables, strict=True)], axis=1)


def decide(sets: Mapping[str, CalibrationSet], rule: Rule) -> Decision:
    """Return how `rule` reads the p-values of detectors, given the calibration set of each by its name.

    ValueRangeError if `rule` asks for what a set cannot give: groups that are not known, or more images or groups than it has.
    An alpha that plain p-values cannot reach is no error, but has a `note`.
    """
    if rule.strict and rule.confidence is not None:
        raise ValueRangeError("strict and confidence: expected at most one of them, got both; choose one")
    unknown = [name for name, each in sets.items() if rule.strict and each.groups is None]
    if unknown:
        raise ValueRangeError(
            f"strict: expected calibration images in known groups, got none in {unknown[0]}; fit or calibrate it with groups"
        )
    name, smallest = min(sets.items(), key=lambda pair: pair[1].size(rule))
    if (rule.strict or rule.confidence is not None) and not _reaches(smallest, rule):
        raise ValueRangeError(_refusal(name, smallest, rule))
    note = None if _reaches(smallest, rule) else unreachable(smallest, rule)
    threshold = min(each.threshold(rule) for each in sets.values())
    return Decision(tuple(each.table(rule) for each in sets.values()), threshold, note)


def conformal_p_values(scores: NDArray[np.floating], calibration: NDArray[np.floating]) -> Probabilities:
    """Return p = (1 + #{calibration >= score}) / (n + 1) for `scores` [N] against sorted `calibration` [n].

    Split conformal anomaly detection (Laxhammar and Falkman, 2015; Bates et al., arXiv:2104.08279): if a normal image
    is exchangeable with the calibration images, P(p <= alpha) <= alpha. Ties count as at least as anomalous.
    """
    at_least = len(calibration) - np.searchsorted(calibration, scores, side="left")
    return np.asarray((1 + at_least) / (len(calibration) + 1), np.float64)


def confident_rank(count: int, alpha: float, confidence: float) -> int:
    """Return the largest k with P(Beta(k, n + 1 - k) <= alpha) >= `confidence` for n = `count`, 0 if there is none.

    An alarm at p <= k / (n + 1) has the false-alarm rate Beta(k, n + 1 - k) over calibration sets (Vovk, 2012).
    """
    return int(np.sum(binomial_tails(count, alpha)[1:] >= confidence))  # P(Beta(k, n + 1 - k) <= a) = P(Bin(n, a) >= k)


def binomial_tails(count: int, probability: float) -> Probabilities:
    """Return P(X >= k) for k = 0 .. `count` and X binomial, of `count` draws that succeed with `probability` each."""
    k = np.arange(count + 1)
    if not 0 < probability < 1:
        return np.asarray(k <= probability * count, np.float64)
    ways = np.concatenate([[0.0], np.cumsum(np.log(count - k[:-1]) - np.log(k[1:]))])  # log of n over k
    mass = np.exp(ways + k * math.log(probability) + (count - k) * math.log1p(-probability))
    return np.asarray(np.minimum(np.cumsum(mass[::-1])[::-1], 1), np.float64)


def needed(rule: Rule) -> int | None:
    """Return the least number of images, or groups, with which an alarm is possible; None for more than MOST_NAMED."""
    if rule.alpha < 1 / MOST_NAMED:
        return None
    if rule.confidence is not None and rule.alpha < 1:
        return max(1, math.ceil(math.log1p(-rule.confidence) / math.log1p(-rule.alpha)))
    count = max(1, math.floor(1 / rule.alpha) - 1)
    return count if 1 / (count + 1) <= rule.alpha else count + 1


def unreachable(calibration: CalibrationSet, rule: Rule) -> str:
    """Return the sentence that no image can be an anomaly under `rule`, and what it would take."""
    size, wanted = calibration.size(rule), needed(rule)
    more = f"; calibrate on at least {wanted:,} or take a larger alpha" if wanted else "; take a larger alpha"
    return (
        f"no image can be an anomaly at alpha {rule.alpha:g}: "
        f"with {size:,} normal {_images_or_groups(calibration, rule)} no p-value is below 1/{size + 1}{more}"
    )


def _reaches(calibration: CalibrationSet, rule: Rule) -> bool:
    return calibration.threshold(rule) >= 1 / (calibration.size(rule) + 1)


def _refusal(name: str, calibration: CalibrationSet, rule: Rule) -> str:
    asked = "strict" if rule.strict else f"confidence {rule.confidence:g}"
    wanted, unit = needed(rule), _images_or_groups(calibration, rule)
    expected = f"at least {wanted:,} normal {unit} for alpha {rule.alpha:g}" if wanted else "a larger alpha"
    return f"{asked}: expected {expected}, got {calibration.size(rule):,} {unit} in {name}; take a larger alpha or calibrate on more"


def _by_groups(rule: Rule) -> bool:
    return rule.strict or rule.confidence is not None


def _images_or_groups(calibration: CalibrationSet, rule: Rule) -> str:
    return "groups" if _by_groups(rule) and calibration.groups is not None else "images"
