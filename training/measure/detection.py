"""Detection quality of a published detector, measured by running its ONNX files."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.metrics import average_precision_score, roc_auc_score

from service.published.detector import Detector, Floats, Scores
from training.data import DataSet, NormalSplit

ALPHAS = (0.01, 0.05)
RESAMPLES = 100


@dataclass(frozen=True)
class Metric:
    """One number and what it takes to judge it.

    `deviation` is the standard deviation over `seeds` trained models, or, of a single one, over bootstrap resamples of
    the images. `samples` counts the images that the number was computed from.
    """

    name: str
    value: float
    deviation: float
    samples: int
    seeds: int
    data: str
    split: str
    implementation: str


def detection_metrics(detector: Detector, data_set: DataSet, normal: NormalSplit) -> list[Metric]:
    """Return the metrics of `detector`: held-out L_con, and by protocol A what tells normal from other test images.

    Protocol A: trained on the training images of the normal classes, tested on the whole test split, normal against
    rest. Without a test split there is only L_con on the calibration images.
    """
    labels = data_set.indices(detector.manifest.normal_classes)
    calibration = detector.score(normal.calibration)
    held_out = [_mean("l_con", calibration.l_con, data_set.name, "held-out training images, normal")]
    anomalous = ~np.isin(data_set.test.labels, labels)
    if anomalous.all() or not anomalous.any():  # no test split, or nothing to tell apart
        return held_out
    scores = detector.score(data_set.test.pixels)
    held_out.append(_mean("l_con", scores.l_con[~anomalous], data_set.name, "test, normal"))
    return (
        held_out + _ranking(scores, anomalous, data_set.name) + _decisions(detector, scores, anomalous, data_set.name)
    )


def false_alarm_interval(calibration: int, alpha: float, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of the false-alarm rate that `calibration` images give at `alpha`.

    The rate of one calibration set is Beta(k, n + 1 - k) distributed with k = floor(alpha (n + 1)) (Vovk, 2012;
    Bates et al., arXiv:2104.08279).
    """
    k = int(np.floor(alpha * (calibration + 1)))
    if k == 0:
        return 0.0, 0.0
    low, high = beta.interval(level, k, calibration + 1 - k)
    return float(low), float(high)


def table(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return `metrics` as plain dictionaries, the contents of metrics.json."""
    return [asdict(metric) for metric in metrics]


def _ranking(scores: Scores, anomalous: NDArray[np.bool_], data: str) -> list[Metric]:
    measures = {"auroc": roc_auc_score, "average_precision": average_precision_score}
    parts = {"l_con": scores.l_con, "latent": scores.latent, "density": scores.density, "score": scores.score}
    return [
        _resampled(f"{measure}.{part}", function, anomalous, values, data)
        for measure, function in measures.items()
        for part, values in parts.items()
    ]


def _decisions(detector: Detector, scores: Scores, anomalous: NDArray[np.bool_], data: str) -> list[Metric]:
    metrics = []
    for alpha in ALPHAS:
        alarms = scores.is_anomaly(alpha)
        low, high = false_alarm_interval(len(detector.calibration), alpha)
        rule = (
            f"conformal p-value <= {alpha}, n = {len(detector.calibration)}, 95 % Beta interval {low:.4f} to {high:.4f}"
        )
        for name, group in (("false_alarm_rate", ~anomalous), ("detection_rate", anomalous)):
            split = "test, anomalous" if name == "detection_rate" else "test, normal"
            metrics.append(_mean(f"{name}.alpha_{alpha}", alarms[group], data, split, rule))
    return metrics


def _mean(name: str, values: NDArray[Any], data: str, split: str, implementation: str = "mean over images") -> Metric:
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Metric(name, float(np.mean(values)), error, len(values), 1, data, split, implementation)


def _resampled(
    name: str, measure: Callable[[Any, Any], float], anomalous: NDArray[np.bool_], values: Floats, data: str
) -> Metric:
    rng = np.random.default_rng(0)
    groups = np.flatnonzero(anomalous), np.flatnonzero(~anomalous)
    draws = (np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(RESAMPLES))
    deviation = float(np.std([measure(anomalous[draw], values[draw]) for draw in draws]))
    return Metric(name, float(measure(anomalous, values)), deviation, len(values), 1, data, "test", "scikit-learn")
