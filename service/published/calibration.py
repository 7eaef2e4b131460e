"""A published detector again, with p-values calibrated on normal images of one's own."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from service.errors import SourceError
from service.published import artifact
from service.published.artifact import Artifact
from service.published.manifest import Calibration

MIN_IMAGES = 20  # with fewer no p-value is as low as 0.05, the usual alpha
RATES = "false_alarm_rate", "detection_rate"


def write(path: Path, base: Artifact, scores: Sequence[float], made_of: Calibration) -> None:
    """Write the detector `base` into the empty folder `path`, calibrated on the `scores` of normal images instead.

    What depended on its former calibration is left out: the rates among its metrics, and the picture of its threshold.
    SourceError if there are fewer than MIN_IMAGES scores.
    """
    if len(scores) < MIN_IMAGES:
        raise SourceError(
            f"normal images: expected at least {MIN_IMAGES} that can be read, got {len(scores)}; add some"
        )
    for name in base.manifest.files.keys() - {artifact.CALIBRATION, artifact.METRICS, artifact.SCORES}:
        shutil.copy(base.path / name, path / name)
    artifact.write_calibration(path, scores)
    artifact.write_metrics(path, [metric for metric in base.metrics() if not metric.name.startswith(RATES)])
    artifact.seal(path, base.manifest.model_copy(update={"name": path.name, "calibration": made_of}))
