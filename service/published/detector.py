"""From pixels to anomaly scores, p-values, reconstructions and heat maps, by a published detector."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from service import images
from service.errors import ArtifactError
from service.published.artifact import Artifact, Floats
from service.published.onnx_model import Device, OnnxModel, verify_golden

DEFAULT_ALPHA = 0.05


@dataclass(frozen=True)
class Scores:
    """Scores of N images, each array [N]; higher means more anomalous, except for `p_value`.

    `l_con` is the mean absolute pixel error of the reconstruction, in [0, 1] of the pixel range; `latent` the distance
    between the code of the image and that of its reconstruction, in standard deviations of normal images; `density` how
    unlikely the image is among normal ones, in standard deviations, too; `score` the combined anomaly score; `p_value`
    in (0, 1] the conformal p-value of `score`. `closest` says whose figures these are: the index of the detector, of
    those asked, that takes the image for most normal; `p_values` [N, detectors] are those of all. A single detector is 0.
    """

    l_con: Floats
    latent: Floats
    density: Floats
    score: Floats
    p_value: NDArray[np.float64]
    closest: NDArray[np.intp]
    p_values: NDArray[np.float64]

    def __getitem__(self, rows: slice) -> "Scores":
        """Return the scores of some of the images."""
        return Scores(*(getattr(self, field.name)[rows] for field in fields(self)))

    def is_anomaly(self, alpha: float) -> NDArray[np.bool_]:
        """Return [N], true where p_value <= alpha: a false alarm for at most a fraction `alpha` of normal images."""
        return self.p_value <= alpha


@dataclass(frozen=True)
class Examination:
    """Scores of N images, and `planes` uint8 [N, 3, H, W]: image, reconstruction, and heat map of 255 values."""

    scores: Scores
    planes: images.Pixels


class Detector:
    """A published detector, ready to score; ArtifactError if it does not give its own golden outputs here."""

    def __init__(self, artifact: Artifact, device: Device = "auto", threads: int = 0) -> None:
        manifest = artifact.manifest
        if manifest.kind != "detector":
            raise ArtifactError(f"{artifact.path}: expected a detector, got a {manifest.kind}; name another model")
        if "detector" not in manifest.graphs:
            raise ArtifactError(
                f"{artifact.path}: expected a graph called detector, found none; publish the model again"
            )
        self.manifest = manifest
        graph = manifest.graphs["detector"]
        self._model = OnnxModel(artifact.file(graph.file), graph, device, threads)
        self.calibration = artifact.calibration()
        verify_golden(self._model, artifact)

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images that `score`, `reconstruct` and `explain` take."""
        return self.manifest.image_size

    @property
    def provider(self) -> str:
        """ONNX Runtime's execution provider in use, such as CPUExecutionProvider."""
        return self._model.provider

    @property
    def name(self) -> str:
        """The name of the published model."""
        return self.manifest.name

    @property
    def calibration_size(self) -> int:
        """Number of held-out normal images behind the p-values."""
        return len(self.calibration)

    def score(self, pixels: images.Pixels) -> Scores:
        """Return the scores of grey uint8 `pixels` [N, image_size, image_size], each independent of the others."""
        return self.examine(pixels).scores

    def reconstruct(self, pixels: images.Pixels) -> images.Pixels:
        """Return what the model makes of `pixels`, in the same shape and range."""
        reconstruction: images.Pixels = self._model(pixels=pixels)["reconstruction"]
        return reconstruction

    def explain(self, pixels: images.Pixels) -> Floats:
        """Return per pixel how odd its surroundings are, in [0, 1]: the heat map."""
        return np.asarray(self._model(pixels=pixels)["heat"] / np.float32(255), np.float32)

    def compare(self, pixels: images.Pixels) -> images.Pixels:
        """Return `pixels`, their reconstruction and their heat map of 255 values, side by side [N, 3, H, W]."""
        return self.examine(pixels).planes

    def examine(self, pixels: images.Pixels) -> Examination:
        """Return what `score` and what `compare` return, at the cost of one."""
        out = self._model(pixels=pixels)
        p_values = conformal_p_values(out["score"], self.calibration)
        parts = out["l_con"], out["latent"], out["density"], out["score"]
        scores = Scores(*parts, p_values, np.zeros(len(pixels), np.intp), p_values[:, None])
        return Examination(scores, np.stack([pixels, out["reconstruction"], out["heat"]], axis=1))


def conformal_p_values(scores: NDArray[np.floating], calibration: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return p = (1 + #{calibration >= score}) / (n + 1) for `scores` [N] against sorted `calibration` [n].

    Split conformal anomaly detection (Laxhammar and Falkman, 2015; Bates et al., arXiv:2104.08279): if a normal image
    is exchangeable with the calibration images, P(p <= alpha) <= alpha. Ties count as at least as anomalous.
    """
    at_least = len(calibration) - np.searchsorted(calibration, scores, side="left")
    return np.asarray((1 + at_least) / (len(calibration) + 1), np.float64)
