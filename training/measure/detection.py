"""Detection quality of a published detector, measured by running its ONNX files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom
from sklearn.metrics import average_precision_score, roc_auc_score

from service.published.artifact import Floats
from service.published.detector import Detector, Scores
from service.published.manifest import Metric
from training.data import DataSet, NormalSplit

ALPHAS = (0.01, 0.05)
RESAMPLES = 100


@dataclass(frozen=True)
class Judged:
    """Scores of a detector: `held_out` on normal images that no autoencoder was fitted on, `test` on the test split.

    `test` is None if the test split does not hold both normal and anomalous images. `anomalous` [N] says which test images
    are of other classes. Protocol A: train on the normal classes, test normal against all other classes.
    """

    detector: Detector
    data: str
    held_out: Scores
    test: Scores | None
    anomalous: NDArray[np.bool_]

    def metrics(self) -> list[Metric]:
        """Return the errors of an autoencoder and, if there is a test split, how well the scores separate other images there."""
        errors = list(self._errors()) if self.detector.reconstructs else []
        if self.test is None:
            return errors
        ranking = _ranking(self.test, self.anomalous, self.data)
        return errors + ranking + _decisions(self.detector, self.test, self.anomalous, self.data)

    def _errors(self) -> Iterator[Metric]:
        yield _mean_metric("l_con", self.held_out.l_con, self.data, "held-out training images, normal")
        if self.test is not None:
            yield _mean_metric("l_con", self.test.l_con[~self.anomalous], self.data, "test, normal")


def judge(detector: Detector, data_set: DataSet, normal: NormalSplit) -> Judged:
    """Return what `detector` makes of the held-out images of `normal` and of the test split of `data_set`."""
    anomalous = ~np.isin(data_set.test.labels, data_set.indices(detector.manifest.normal_classes))
    separable = bool(anomalous.any() and not anomalous.all())  # else there is no test split, or only one kind in it
    test = detector.score(data_set.test.pixels) if separable else None
    return Judged(detector, data_set.name, detector.score(normal.validation), test, anomalous)


def false_alarm_interval(calibration: int, alpha: float, judged: int, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of the share of false alarms among `judged` normal images.

    With n = `calibration` images and k = floor(alpha (n + 1)), the rate at `alpha` is Beta(k, n + 1 - k) distributed
    (Vovk, 2012; Bates et al., arXiv:2104.08279). So the count of alarms is beta-binomial. Images count as independent. If
    images come in groups, such as writers, the true interval is wider.
    """
    k = int(np.floor(alpha * (calibration + 1)))
    if k == 0:
        return 0.0, 0.0
    low, high = betabinom.interval(level, judged, k, calibration + 1 - k)
    return float(low) / judged, float(high) / judged


def _ranking(scores: Scores, anomalous: NDArray[np.bool_], data: str) -> list[Metric]:
    measures = {"auroc": roc_auc_score, "average_precision": average_precision_score}
    parts = {"l_con": scores.l_con, "latent": scores.latent, "density": scores.density, "score": scores.score}
    return [
        _bootstrap_metric(f"{measure}.{part}", function, anomalous, values, data)
        for measure, function in measures.items()
        for part, values in parts.items()
        if not np.isnan(values).any()
    ]


def _decisions(detector: Detector, scores: Scores, anomalous: NDArray[np.bool_], data: str) -> list[Metric]:
    metrics = []
    for alpha in ALPHAS:
        alarms = scores.is_anomaly(alpha)
        low, high = false_alarm_interval(len(detector.calibration), alpha, int((~anomalous).sum()))
        rule = f"conformal p-value <= {alpha}, n = {len(detector.calibration)}, 95 % beta-binomial interval {low:.4f} to {high:.4f}"
        for name, group in (("false_alarm_rate", ~anomalous), ("detection_rate", anomalous)):
            split = "test, anomalous" if name == "detection_rate" else "test, normal"
            metrics.append(_mean_metric(f"{name}.alpha_{alpha}", alarms[group], data, split, rule))
    return metrics


def _mean_metric(
    name: str, values: NDArray[Any], data: str, split: str, implementation: str = "mean over images"
) -> Metric:
    return Metric(
        name=name,
        value=float(np.mean(values)),
        deviation=float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0,
        deviation_of="standard error",
        samples=len(values),
        data=data,
        split=split,
        implementation=implementation,
    )


def _bootstrap_metric(
    name: str, measure: Callable[[Any, Any], float], anomalous: NDArray[np.bool_], values: Floats, data: str
) -> Metric:
    rng = np.random.default_rng(0)
    groups = np.flatnonzero(anomalous), np.flatnonzero(~anomalous)
    draws = (np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(RESAMPLES))
    return Metric(
        name=name,
        value=float(measure(anomalous, values)),
        deviation=float(np.std([measure(anomalous[draw], values[draw]) for draw in draws])),
        deviation_of="bootstrap",
        samples=len(values),
        data=data,
        split="test",
        implementation="scikit-learn",
    )
