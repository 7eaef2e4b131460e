"""Re-calibration: a copy of a published detector, calibrated on a user's own normal images."""

import shutil
from pathlib import Path

import numpy as np

from service.errors import SourceError
from service.published import artifact
from service.published.artifact import Artifact
from service.published.conformal import DEFAULT_ALPHA, CalibrationSet, Floats, binomial_tails
from service.published.guarantee import guarantee
from service.published.manifest import Calibration

MIN_IMAGES = 20  # the smallest p-value is 1 / (n + 1), and must be below the default alpha of 0.05
LEVEL = 0.01  # of the test in `doubt`: the share of good sets of images that it doubts
RATES = "false_alarm_rate", "detection_rate"


def write(path: Path, base: Artifact, own: CalibrationSet, made_of: Calibration) -> None:
    """Write the detector `base` into the empty folder `path`, calibrated on the scores `own` of normal images.

    Rates among the metrics and the picture of the threshold are left out, since they depend on the old calibration.
    Raises SourceError for fewer than MIN_IMAGES scores.
    """
    if len(own.scores) < MIN_IMAGES:
        raise SourceError(
            f"normal images: expected at least {MIN_IMAGES} readable images, got {len(own.scores)}; add some"
        )
    for name in base.manifest.files.keys() - {artifact.CALIBRATION, artifact.METRICS, artifact.SCORES}:
        shutil.copy(base.path / name, path / name)
    artifact.write_calibration(path, own.scores, own.groups)
    artifact.write_metrics(path, [metric for metric in base.metrics() if not metric.name.startswith(RATES)])
    promised = guarantee("held-out images" if own.groups is None else "held-out groups", own)
    update = {"name": path.name, "calibration": made_of, "guarantee": promised}
    artifact.seal(path, base.manifest.model_copy(update=update))


def doubt(alarms: int, images: int, calibration_size: int) -> str | None:
    """Return why `images` with so many `alarms` at DEFAULT_ALPHA are no good ones to calibrate on, None if they may be.

    A two-sided binomial test at LEVEL against the rate of a detector that was calibrated on `calibration_size` images. Too few
    alarms are as suspicious as too many: images that were fitted score too low, and a calibration on them alarms too often.
    """
    rate = np.floor(DEFAULT_ALPHA * (calibration_size + 1)) / (calibration_size + 1)
    tails = np.append(binomial_tails(images, float(rate)), 0.0)
    few, many = 1 - tails[alarms + 1], tails[alarms]
    if 2 * min(few, many) > LEVEL:
        return None
    due = f"{alarms:,} of {images:,} images raise an alarm, where about {rate * images:,.0f} are due"
    if few < many:
        return f"{due}: were they fitted? Take images that no part of the model has seen, or false alarms will exceed alpha"
    return f"{due}: they differ from the images that the model was calibrated on, or not all are normal; look with --review 20"


def alarm_above(scores: Floats, alpha: float = DEFAULT_ALPHA) -> float | None:
    """Return the score above which an image is an anomaly at `alpha`, by ascending `scores` [n]; None if there is no such score."""
    rank = int(np.floor(alpha * (len(scores) + 1)))
    return float(scores[-rank]) if rank else None
