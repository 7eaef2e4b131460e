"""P-values under a rule, against closed forms and simulation; and what a calibration set cannot promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from service.errors import ValueRangeError
from service.published.conformal import (
    CalibrationSet,
    Rule,
    binomial_tails,
    confident_rank,
    conformal_p_values,
    decide,
    needed,
)

STRICT = Rule(0.1, strict=True)


def calibrated(scores: list[float], groups: list[int] | None = None) -> CalibrationSet:
    order = np.argsort(scores, kind="stable")
    ordered = np.array(scores, np.float32)[order]
    return CalibrationSet(ordered, None if groups is None else np.array(groups)[order])


def p_values(calibration: CalibrationSet, rule: Rule, scores: np.ndarray) -> np.ndarray:
    plain = conformal_p_values(scores, calibration.scores)
    return decide({"mnist-0": calibration}, rule).p_values(plain[:, None])[:, 0]


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 3)), min_size=30, max_size=60), st.integers(-10, 10))
def test_a_strict_p_value_is_that_of_the_paper(images: list[tuple[int, int]], score: int):
    scores, groups = np.array(images).T
    names = np.unique(groups)
    shares = [np.mean(scores[groups == name] >= score) for name in names]
    by_hand = (1 + sum(shares)) / (len(names) + 1)
    calibration = calibrated(scores.tolist(), groups.tolist())
    assert p_values(calibration, Rule(0.9, strict=True), np.array([score]))[0] == pytest.approx(by_hand)


def test_where_every_image_is_a_group_strict_p_values_are_plain_ones():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=50)
    calibration = calibrated(scores.tolist(), list(range(50)))
    asked = rng.normal(size=200)
    np.testing.assert_allclose(p_values(calibration, STRICT, asked), p_values(calibration, Rule(), asked))


def test_images_of_new_groups_raise_at_most_alpha_by_strict_p_values_where_plain_ones_raise_more():
    rng, rates = np.random.default_rng(0), []
    for _ in range(3000):
        sizes = rng.choice([1, 40], 20)  # a plain p-value is ruled by the few large groups
        groups = np.repeat(np.arange(20), sizes)
        scores = rng.normal(size=20)[groups] * 3 + rng.normal(size=len(groups))
        new = np.array([rng.normal() * 3 + rng.normal()])
        calibration = calibrated(scores.tolist(), groups.tolist())
        rates.append([p_values(calibration, rule, new)[0] <= 0.1 for rule in (STRICT, Rule(0.1))])
    strict, plain = np.mean(rates, axis=0)
    assert strict <= 0.1
    assert plain > 0.1


@pytest.mark.parametrize(
    ("count", "alpha", "expected"), [(1000, 0.01, 5), (1000, 0.05, 39), (200, 0.01, 0), (299, 0.01, 1), (298, 0.01, 0)]
)
def test_the_confident_rank_is_the_one_known(count: int, alpha: float, expected: int):
    assert confident_rank(count, alpha, 0.95) == expected


@given(st.integers(1, 3000), st.floats(0.001, 0.5), st.floats(0.5, 0.999))
def test_the_confident_rank_is_the_largest_that_the_beta_distribution_allows(
    count: int, alpha: float, confidence: float
):
    ranks = np.arange(1, count + 1)
    allowed = beta.cdf(alpha, ranks, count + 1 - ranks) >= confidence
    assert (
        abs(confident_rank(count, alpha, confidence) - allowed.sum())
        <= (np.abs(beta.cdf(alpha, ranks, count + 1 - ranks) - confidence) < 1e-9).sum()
    )


def test_with_confidence_few_calibration_sets_let_more_than_alpha_through():
    rng, alpha = np.random.default_rng(1), 0.1
    limits = []
    for _ in range(2000):
        calibration = calibrated(rng.uniform(size=100).tolist())
        decision = decide({"mnist-0": calibration}, Rule(alpha, confidence=0.9))
        asked = np.linspace(0, 1, 2001)
        alarms = conformal_p_values(asked, calibration.scores) <= decision.threshold
        limits.append(alarms.mean())
    assert np.mean(np.array(limits) <= alpha) >= 0.88
    assert np.mean(limits) < alpha


def test_with_confidence_one_image_of_each_group_counts():
    groups = np.repeat(np.arange(50), 4)
    calibration = calibrated(
        np.repeat(np.arange(50.0), 4).tolist(), groups.tolist()
    )  # all images of a group score alike
    assert p_values(calibration, Rule(0.2, confidence=0.9), np.array([45.0]))[0] == pytest.approx((1 + 5) / 51)
    assert decide({"mnist-0": calibration}, Rule(0.2, confidence=0.9)).threshold == confident_rank(50, 0.2, 0.9) / 51


@given(st.integers(0, 2000), st.floats(0, 1))
def test_binomial_tails(count: int, probability: float):
    expected = binom.sf(np.arange(count + 1) - 1, count, probability)
    np.testing.assert_allclose(binomial_tails(count, probability), expected, atol=1e-9)


@given(st.floats(1e-6, 1), st.sampled_from([None, 0.5, 0.95]))
def test_so_many_are_needed_and_no_fewer(alpha: float, confidence: float | None):
    rule, count = Rule(alpha, confidence=confidence), needed(Rule(alpha, confidence=confidence))
    assert count is not None
    if count > 5000:
        return
    reached = [CalibrationSet(np.zeros(n, np.float32)).threshold(rule) >= 1 / (n + 1) for n in (count, count - 1) if n]
    assert reached[0]
    assert not any(reached[1:])


def test_an_alpha_that_no_p_value_reaches_is_noted_with_what_it_takes():
    sixty = {"mnist-0": calibrated(list(range(60)))}
    assert decide(sixty, Rule(0.05)).note is None
    assert decide(sixty, Rule(0.01)).note == (
        "no image can be an anomaly at alpha 0.01: with 60 normal images no p-value is below 1/61; "
        "calibrate on at least 99 or take a larger alpha"
    )
    assert decide(sixty, Rule(0)).note.endswith("no p-value is below 1/61; take a larger alpha")
    both = {"mnist-0": calibrated(list(range(500))), **sixty}
    assert decide(both, Rule(0.01)).note == decide(sixty, Rule(0.01)).note


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            Rule(0.05, strict=True),
            "strict: expected at least 19 normal groups for alpha 0.05, got 10 groups in mnist-0;",
        ),
        (
            Rule(0.01, confidence=0.95),
            "confidence 0.95: expected at least 299 normal groups for alpha 0.01, got 10 groups",
        ),
        (Rule(0.1, strict=True, confidence=0.9), "strict and confidence: expected at most one of them, got both"),
    ],
)
def test_what_a_calibration_set_cannot_give_is_refused(rule: Rule, sentence: str):
    with pytest.raises(ValueRangeError, match="^" + sentence):
        decide({"mnist-0": calibrated(list(range(40)), [k // 4 for k in range(40)])}, rule)


def test_strict_p_values_need_groups():
    with pytest.raises(
        ValueRangeError, match=r"^strict: expected calibration images in known groups, got none in mnist-0;"
    ):
        decide({"mnist-0": calibrated(list(range(40)))}, Rule(0.5, strict=True))


def test_of_several_detectors_the_smallest_threshold_counts():
    sets = {name: calibrated(list(range(size))) for name, size in (("a", 1000), ("b", 300))}
    rule = Rule(0.05, confidence=0.95)
    alone = [decide({name: each}, rule).threshold for name, each in sets.items()]
    assert decide(sets, rule).threshold == min(alone)
