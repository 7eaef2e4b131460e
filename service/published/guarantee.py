"""What the p-values of a published detector promise, in a sentence, and the figures behind it."""

from service.published.artifact import Artifact
from service.published.conformal import CalibrationSet
from service.published.manifest import Guarantee, Manifest, Method

STATEMENTS: dict[Method, str] = {
    "held-out images": "No calibration image was fitted. If new normal images are drawn as the calibration images were, "
    "at most a fraction alpha of them raises an alarm, on average over calibration sets.",
    "held-out groups": "No group of the calibration images was fitted. If groups are of like size, at most about a fraction "
    "alpha of the normal images of new groups raises an alarm; strict p-values keep alpha exactly.",
    "cross-conformal": "Every normal image was fitted, and calibrates by its score under models that have not seen it. "
    "About a fraction alpha of new normal images raises an alarm in practice; no bound is proven.",
    "leave-one-group-out": "Every normal image was fitted, and calibrates by its score under models that have not seen its "
    "group. About a fraction alpha of the normal images of new groups raises an alarm in practice; no bound is proven.",
}


def guarantee(method: Method, calibration: CalibrationSet) -> Guarantee:
    """Return what p-values promise that were calibrated by `method` on the images of `calibration`."""
    images, groups = len(calibration.scores), calibration.group_count
    return Guarantee(
        method=method,
        images=images,
        groups=groups,
        smallest_p_value=1 / (images + 1),
        smallest_strict_p_value=None if groups is None else 1 / (groups + 1),
        statement=STATEMENTS[method],
    )


def guarantee_of(published: Artifact) -> Guarantee:
    """Return what the detector `published` promises: as its manifest says, or as its age tells where it does not."""
    manifest = published.manifest
    return manifest.guarantee or guarantee(_method_of(manifest), published.calibration_set())


def _method_of(manifest: Manifest) -> Method:
    """Return how detectors were calibrated before manifests said it: those with folds by the folds, others by random images."""
    is_own = manifest.calibration is not None
    return "cross-conformal" if "folds" in manifest.recipe.get("density", {}) and not is_own else "held-out images"
