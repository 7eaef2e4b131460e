"""The schemas of manifest.json and metrics.json, the description of a published model."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"

DeviationOf = Literal["bootstrap", "standard error", "splits", "subsets"]
Kind = Literal["detector", "generator", "classifier"]
Method = Literal["held-out images", "held-out groups", "cross-conformal", "leave-one-group-out"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Frozen):
    """An input or output of a graph. A string in `shape`, such as "batch", is a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Graph(_Frozen):
    """An ONNX file with its weights inside, its opset and its signature."""

    file: FileName
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Parity(_Frozen):
    """The largest relative difference between torch and ONNX Runtime over all outputs, by batch size."""

    tolerance: float
    relative_difference: dict[int, float]


class Provenance(_Frozen):
    """The origin of the weights, enough to train them again.

    `commit` is the code that trained, and `published_commit` the code that exported. `invert` says that the images of
    `data` show dark glyphs on light. `train_seconds` is the duration of the training on `device`. `groups` is what told
    the groups of the images, where `data` does not. `groups_sha256` is a hash over the groups; old runs lack it.
    """

    created: str = Field(description="When the training began, ISO 8601.")
    commit: str = Field(description="The code that trained.")
    published_commit: str = Field("unknown", description="The code that calibrated and exported.")
    command: str = Field(description="What was called to train.")
    seed: int = Field(description="The seed of the training.")
    data: str = Field(description="Name of the data set.")
    data_sha256: Sha256 = Field(description="Hash of its images.")
    groups: str | None = Field(None, description="What told the groups of its images; null if the data set did.")
    groups_sha256: Sha256 | None = Field(None, description="Hash of the groups; old runs lack it.")
    invert: bool = Field(False, description="Whether its images are dark on light.")
    device: str = Field(description="What the training ran on.")
    train_seconds: float = Field(description="How long the training took.")
    versions: dict[str, str] = Field(description="Versions of the libraries.")


class Guarantee(_Frozen):
    """What p-values promise, and how they were calibrated."""

    method: Method = Field(description="Which images were kept from which fit.")
    images: int = Field(description="Number of calibration images.")
    groups: int | None = Field(None, description="Number of their groups; null where none are known.")
    smallest_p_value: float = Field(description="No p_value is smaller.")
    smallest_strict_p_value: float | None = Field(None, description="No strict p_value is smaller.")
    statement: str = Field(description="The promise, for people.")


class Calibration(_Frozen):
    """A re-calibration of the detector `base` on `images` normal images from `sources`.

    The images come in `groups`, where groups are known. A person took `excluded` images out.
    """

    created: str
    base: str
    sources: tuple[str, ...]
    invert: bool
    images: int
    groups: int | None = None
    excluded: int = 0


class Metric(_Frozen):
    """A measured value with its deviation and origin. metrics.json is a list of metrics.

    `samples` counts the images behind `value`. `deviation` is a standard deviation, and `deviation_of` says over what:
    bootstrap resamples of the images, `splits` or `subsets` of the images, or the mean (the standard error). It is None
    in files from before version 0.2. `implementation` names the library or the rule.
    """

    model_config = ConfigDict(extra="ignore")  # files from before version 0.2 also have `seeds`, always 1

    name: str = Field(description="What was measured.")
    value: float = Field(description="The number.")
    deviation: float = Field(description="Its standard deviation.")
    deviation_of: DeviationOf | None = Field(
        None, description="What the deviation is over; null where it is not known."
    )
    samples: int = Field(description="Number of images behind the value.")
    data: str = Field(description="Name of the data set.")
    split: str = Field(description="Which of its images.")
    implementation: str = Field(description="The library or the rule that computed it.")


class Manifest(_Frozen):
    """The contents of manifest.json. `image_size` is the side in pixels of the square images that the graphs take.

    `guarantee` says what a detector's p-values promise; detectors from before version 0.2 lack it.
    """

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    kind: Kind
    summary: str
    image_size: Annotated[int, Field(gt=0, le=1024)]
    channels: Literal[1, 3]
    class_names: tuple[str, ...]
    normal_classes: tuple[str, ...]
    graphs: dict[str, Graph]
    recipe: dict[str, Any]
    provenance: Provenance
    parity: Parity
    calibration: Calibration | None = None
    guarantee: Guarantee | None = None
    files: dict[FileName, Sha256]

    @property
    def reconstructs(self) -> bool:
        """Whether the model is a detector with an autoencoder, so that it gives a reconstruction, l_con and latent."""
        graph = self.graphs.get("detector")
        return graph is not None and "reconstruction" in {output.name for output in graph.outputs}

    @property
    def takes_labels(self) -> bool:
        """Whether a graph takes labels, so that a user can choose a class."""
        return any(tensor.name == "labels" for graph in self.graphs.values() for tensor in graph.inputs)
