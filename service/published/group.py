"""Several detectors together: which class, if any, an image looks like."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from service.errors import ArtifactError
from service.images import Pixels
from service.published.conformal import CalibrationSet, Decision, Rule, decide
from service.published.detector import ARRAYS, Detector, Examination, Scores
from service.published.manifest import NAME_PATTERN, Manifest
from service.published.onnx_model import UsedDevice


class Group:
    """Detectors of one class each, with the methods of one Detector.

    The closest class judges an image: its detector has the highest p-value, and among equals the lowest score. Its
    p-value is valid for all classes: for a normal image of class k, P(max p <= alpha) <= P(p_k <= alpha) <= alpha.
    Raises ArtifactError for detectors of different image sizes.

    group = Group("all-mnist", [Detector(artifact.load(models_dir / name)) for name in names])
    group.score(pixels).closest  # [N], indices into group.class_names
    """

    def __init__(self, name: str, detectors: Sequence[Detector]) -> None:
        sizes = {detector.image_size for detector in detectors}
        if len(sizes) > 1:
            raise ArtifactError(
                f"{name}: expected detectors for one image size, got {sorted(sizes)}; publish them with one size"
            )
        self.name = name
        self.detectors = tuple(detectors)

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images that all detectors take."""
        return self.detectors[0].image_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """The normal class of each detector."""
        return tuple(detector.manifest.normal_classes[0] for detector in self.detectors)

    @property
    def calibration_sets(self) -> tuple[CalibrationSet, ...]:
        """The calibration set of each detector."""
        return tuple(detector.calibration_set for detector in self.detectors)

    @property
    def calibration_size(self) -> int:
        """The smallest number of normal images behind a p-value."""
        return min(detector.calibration_size for detector in self.detectors)

    @property
    def device(self) -> UsedDevice:
        """The device that computes the scores of all detectors."""
        return self.detectors[0].device

    def decide(self, rule: Rule) -> Decision:
        """Return how `rule` reads the p-values of all detectors; ValueRangeError if one cannot give what is asked.

        An image is an anomaly if its largest p-value is at most the smallest threshold of a detector.
        """
        return decide({detector.name: detector.calibration_set for detector in self.detectors}, rule)

    @property
    def reconstructs(self) -> bool:
        """Whether every detector has an autoencoder."""
        return all(detector.reconstructs for detector in self.detectors)

    def score(self, pixels: Pixels) -> Scores:
        """Return the scores of grey uint8 `pixels` [N, image_size, image_size] by the closest class."""
        return self.examine(pixels).scores

    def compare(self, pixels: Pixels) -> Pixels:
        """Return the planes of `examine`, uint8 [N, 2 or 3, H, W]; no reconstruction unless all detectors have one."""
        return self.examine(pixels).planes

    def examine(self, pixels: Pixels) -> Examination:
        """Return the results of `score` and `compare` from one run of each graph."""
        each = [detector.examine(pixels) for detector in self.detectors]
        p_values = np.stack([one.scores.p_value for one in each], axis=1)  # [N, detectors]
        scores = np.stack([one.scores.score for one in each], axis=1)
        closest = np.lexsort((scores, -p_values), axis=1)[:, 0]
        rows = np.arange(len(pixels))
        columns = {
            name: np.stack([getattr(one.scores, name) for one in each], axis=1)[rows, closest]
            for name in ARRAYS
            if name not in ("closest", "p_values")
        }
        common = min(one.planes.shape[1] for one in each)
        planes = np.stack([one.planes[:, :common] for one in each], axis=1)[rows, closest]
        return Examination(Scores(**columns, closest=closest, p_values=p_values, classes=self.class_names), planes)


def members(manifests: Iterable[Manifest]) -> dict[str, list[str]]:
    """Return the names of the detectors in each group, by the group's name all-DATA.

    A group has the detectors of single classes of one data set, one per class and at least two. If a class has several
    detectors, the first by name is taken. A re-calibrated detector is in no group.
    """
    groups: dict[str, dict[str, str]] = {}
    for manifest in sorted(manifests, key=lambda manifest: manifest.name):
        name = f"all-{manifest.provenance.data}"
        is_own = manifest.kind == "detector" and manifest.calibration is None and len(manifest.normal_classes) == 1
        if is_own and re.fullmatch(NAME_PATTERN, name):
            groups.setdefault(name, {}).setdefault(manifest.normal_classes[0], manifest.name)
    return {name: list(group.values()) for name, group in sorted(groups.items()) if len(group) > 1}


def groups_among(detectors: Sequence[Detector]) -> list[Group]:
    """Return every group that `detectors` form, as `members` says, in order of name."""
    by_name = {detector.name: detector for detector in detectors}
    groups = members(detector.manifest for detector in detectors)
    return [Group(name, [by_name[member] for member in names]) for name, names in groups.items()]
