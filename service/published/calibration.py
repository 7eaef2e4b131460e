"""Re-calibration: a copy of a published detector, calibrated on a user's own normal images."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from service.errors import SourceError
from service.published import artifact
from service.published.artifact import Artifact
from service.published.manifest import Calibration

MIN_IMAGES = 20  # the smallest p-value is 1 / (n + 1), and must be below the default alpha of 0.05
RATES = "false_alarm_rate", "detection_rate"


def write(path: Path, base: Artifact, scores: Sequence[float], made_of: Calibration) -> None:
    """Write the detector `base` into the empty folder `path`, calibrated on `scores` [n] of normal images.

    Rates among the metrics and the picture of the threshold are left out, since they depend on the old calibration.
    Raises SourceError for fewer than MIN_IMAGES scores.
    """
    if len(scores) < MIN_IMAGES:
        raise SourceError(f"normal images: expected at least {MIN_IMAGES} readable images, got {len(scores)}; add some")
    for name in base.manifest.files.keys() - {artifact.CALIBRATION, artifact.METRICS, artifact.SCORES}:
        shutil.copy(base.path / name, path / name)
    artifact.write_calibration(path, scores)
    artifact.write_metrics(path, [metric for metric in base.metrics() if not metric.name.startswith(RATES)])
    artifact.seal(path, base.manifest.model_copy(update={"name": path.name, "calibration": made_of}))
