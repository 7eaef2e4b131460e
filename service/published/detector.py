"""A published detector: pixels -> anomaly scores, p-values, reconstructions and heat maps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from service import images
from service.errors import ArtifactError, NoReconstructionError
from service.published.artifact import Artifact, Floats
from service.published.conformal import CalibrationSet, Decision, Probabilities, Rule, conformal_p_values, decide
from service.published.onnx_model import Device, OnnxModel, UsedDevice, verify_golden

OUTPUTS = {"density", "heat", "score"}
OUTPUTS_OF_AUTOENCODERS = {"l_con", "latent", "reconstruction"}


@dataclass(frozen=True)
class Row:
    """The result for one image: its scores, or `error`. What is not known is None.

    These fields are the columns of every answer, table and file. They are listed only here.
    """

    id: Annotated[str, Field(description="Name of the file, or position of the array.")]
    l_con: Annotated[
        float | None,
        Field(
            description="Mean absolute error of the reconstruction, as a fraction of the pixel range, in [0, 1]; none without an autoencoder."
        ),
    ] = None
    latent: Annotated[
        float | None,
        Field(
            description="Distance between the latent codes of image and reconstruction, in standard deviations; none without an autoencoder."
        ),
    ] = None
    density: Annotated[
        float | None, Field(description="How unlikely the image is among normal images, in standard deviations.")
    ] = None
    score: Annotated[float | None, Field(description="The combined anomaly score; higher is more anomalous.")] = None
    p_value: Annotated[
        float | None,
        Field(
            description="Share of normal images expected to score at least as high, in (0, 1]; strict: of images of new groups."
        ),
    ] = None
    is_anomaly: Annotated[
        bool | None, Field(description="Whether p_value <= alpha, or the threshold that confidence asks for.")
    ] = None
    closest: Annotated[
        str | None,
        Field(description="Groups: the class with the highest p-value. The other figures are for this class."),
    ] = None
    p_values: Annotated[dict[str, float] | None, Field(description="Groups: the p-value of each class.")] = None
    error: Annotated[str | None, Field(description="Why the image could not be scored.")] = None


@dataclass(frozen=True)
class Scores:
    """Scores of N images, each array [N]. Higher means more anomalous, except for `p_value`.

    The names are those of Row. `p_value` in (0, 1] is the conformal p-value of `score`. In a group, `closest` is the
    index of the detector with the highest p-value, and the figures are by this detector. `p_values` [N, detectors] are
    by all detectors, and `classes` names the normal class of each. A single detector has index 0 and no `classes`.
    `l_con` and `latent` are NaN if the detector has no autoencoder.

        scores = detector.score(pixels)
        scores[:10].p_value, scores.is_anomaly(alpha=0.05), scores.rows(ids, alpha=0.05)
    """

    l_con: Floats
    latent: Floats
    density: Floats
    score: Floats
    p_value: Probabilities
    closest: NDArray[np.intp]
    p_values: Probabilities
    classes: tuple[str, ...] = ()

    def __getitem__(self, rows: slice) -> "Scores":
        """Return the scores of the images in the slice `rows`."""
        arrays = {name: getattr(self, name)[rows] for name in ARRAYS}
        return Scores(**arrays, classes=self.classes)

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> "Scores":
        """Return the scores of all `parts`, which are of one detector or group, after another."""
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
        return cls(**arrays, classes=parts[0].classes)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.score)

    def is_anomaly(self, alpha: float) -> NDArray[np.bool_]:
        """Return [N], true where p_value <= alpha. At most a fraction `alpha` of normal images is a false alarm."""
        return self.p_value <= alpha

    def under(self, decision: Decision) -> "Scores":
        """Return the same scores with the p-values of `decision`. Of several detectors, the largest p-value counts."""
        p_values = decision.p_values(self.p_values)
        return replace(self, p_value=p_values.max(axis=1), p_values=p_values)

    def rows(self, ids: Iterable[str], decision: Decision) -> list[Row]:
        """Return one row per image, named by `ids` [N]. Figures have the fewest digits that identify them."""
        judged = self.under(decision)
        figures = zip(*(map(_shortest, getattr(judged, name)) for name in FIGURES), strict=True)
        named = zip(ids, figures, judged.is_anomaly(decision.threshold).tolist(), strict=True)
        rows = [
            Row(name, **dict(zip(FIGURES, values, strict=True)), is_anomaly=is_anomaly)
            for name, values, is_anomaly in named
        ]
        if not self.classes:
            return rows
        groups = zip(rows, judged.closest, judged.p_values.tolist(), strict=True)
        return [
            replace(row, closest=self.classes[index], p_values=dict(zip(self.classes, all_, strict=True)))
            for row, index, all_ in groups
        ]


FIGURES = ("l_con", "latent", "density", "score", "p_value")
ARRAYS = tuple(field.name for field in fields(Scores) if field.name != "classes")


def _shortest(value: np.floating) -> float | None:
    """Return the float with the fewest digits among those that round to `value`; None for NaN."""
    return None if np.isnan(value) else float(str(value))


@dataclass(frozen=True)
class Examination:
    """Scores of N images, and `planes` uint8 [N, 2 or 3, H, W]: image, heat map and, if there is one, reconstruction."""

    scores: Scores
    planes: images.Pixels


class Detector:
    """A published detector, ready to score; ArtifactError if it does not repeat its golden outputs on this machine.

    detector = Detector(artifact.load(Path("models/mnist-0")))
    scores = detector.score(pixels)  # uint8 [N, 32, 32], light glyphs on black
    scores.p_value, scores.is_anomaly(alpha=0.05)
    """

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
        needed = OUTPUTS | OUTPUTS_OF_AUTOENCODERS if manifest.reconstructs else OUTPUTS
        if {tensor.name for tensor in graph.inputs} != {"pixels"} or needed - {tensor.name for tensor in graph.outputs}:
            raise ArtifactError(
                f"{artifact.path}: expected a detector that makes {', '.join(sorted(needed))} of pixels, got another "
                "graph; publish the model again"
            )
        self._model = OnnxModel(artifact.file(graph.file), graph, device, threads)
        self.calibration_set = artifact.calibration_set()
        verify_golden(self._model, artifact)

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images that `score`, `reconstruct` and `explain` take."""
        return self.manifest.image_size

    @property
    def device(self) -> UsedDevice:
        """The device that the scores are computed on."""
        return self._model.device

    @property
    def reconstructs(self) -> bool:
        """Whether there is an autoencoder, so that `reconstruct` returns something, and l_con and latent are known."""
        return self.manifest.reconstructs

    @property
    def name(self) -> str:
        """The name of the published model."""
        return self.manifest.name

    @property
    def calibration_sets(self) -> tuple[CalibrationSet]:
        """The calibration set alone, as a group of detectors has several."""
        return (self.calibration_set,)

    @property
    def calibration(self) -> Floats:
        """The scores [n] of normal images behind the p-values, in ascending order."""
        return self.calibration_set.scores

    @property
    def calibration_size(self) -> int:
        """Number of normal images behind the p-values."""
        return len(self.calibration)

    def decide(self, rule: Rule) -> Decision:
        """Return how `rule` reads this detector's p-values; ValueRangeError if its calibration cannot give what is asked."""
        return decide({self.name: self.calibration_set}, rule)

    def score(self, pixels: images.Pixels) -> Scores:
        """Return the scores of grey uint8 `pixels` [N, image_size, image_size]. No score depends on other images."""
        return self.examine(pixels).scores

    def reconstruct(self, pixels: images.Pixels) -> images.Pixels:
        """Return the reconstruction of `pixels`, uint8 of the same shape; NoReconstructionError if there is no autoencoder."""
        require_reconstruction(self.name, reconstructs=self.reconstructs)
        reconstruction: images.Pixels = self._model(pixels=pixels)["reconstruction"]
        return reconstruction

    def explain(self, pixels: images.Pixels) -> Floats:
        """Return the heat map of `pixels`, float32 of the same shape in [0, 1]: how odd each pixel's surroundings are."""
        return np.asarray(self._model(pixels=pixels)["heat"] / np.float32(255), np.float32)

    def compare(self, pixels: images.Pixels) -> images.Pixels:
        """Return the planes of `examine`, uint8 [N, 2 or 3, H, W]."""
        return self.examine(pixels).planes

    def examine(self, pixels: images.Pixels) -> Examination:
        """Return the results of `score` and `compare` from one run of the graph."""
        out = self._model(pixels=pixels)
        p_values = conformal_p_values(out["score"], self.calibration)
        unknown = np.full(len(pixels), np.nan, np.float32)
        parts = out.get("l_con", unknown), out.get("latent", unknown), out["density"], out["score"]
        scores = Scores(*parts, p_values, np.zeros(len(pixels), np.intp), p_values[:, None])
        made = [out["reconstruction"]] if self.reconstructs else []
        return Examination(scores, np.stack([pixels, out["heat"], *made], axis=1))


def require_reconstruction(name: str, *, reconstructs: bool) -> None:
    """Raise NoReconstructionError if the detector called `name` has no autoencoder."""
    if not reconstructs:
        raise NoReconstructionError(
            f"model {name}: expected a detector with an autoencoder, got one without; ask for the heat map, or name another model"
        )
