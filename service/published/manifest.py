"""The schema of manifest.json and metrics.json: what a published model says about itself."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"

DeviationOf = Literal["bootstrap", "standard error", "splits", "subsets"]
Kind = Literal["detector", "generator", "classifier"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Frozen):
    """One graph input or output; a string in `shape` is a dynamic axis, such as "batch"."""

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
    """Largest relative difference between torch and ONNX Runtime over all outputs, for each batch size tried."""

    tolerance: float
    relative_difference: dict[int, float]


class Provenance(_Frozen):
    """Where the weights come from: enough to train them again; `invert` if the images of `data` are dark on light.

    `commit` is the code that trained, `published_commit` that which then fitted the density, calibrated and exported.
    """

    created: str
    commit: str
    published_commit: str = "unknown"
    command: str
    seed: int
    data: str
    data_sha256: Sha256
    invert: bool = False
    device: str
    train_seconds: float
    versions: dict[str, str]


class Calibration(_Frozen):
    """Normal images of one's own, `images` in number, that p-values were calibrated on instead of those of `base`."""

    created: str
    base: str
    sources: tuple[str, ...]
    invert: bool
    images: int


class Metric(_Frozen):
    """One number and what it takes to judge it; metrics.json is a list of them.

    `samples` counts the images behind `value`. `deviation` is a standard deviation, and `deviation_of` says over what:
    over bootstrap resamples of the images, over `splits` or `subsets` of them, or of the mean (its standard error); None
    where a file from before version 0.2 does not say. `implementation` names the library or the rule.
    """

    model_config = ConfigDict(extra="ignore")  # files from before version 0.2 also have `seeds`, always 1

    name: str
    value: float
    deviation: float
    deviation_of: DeviationOf | None = None
    samples: int
    data: str
    split: str
    implementation: str


class Manifest(_Frozen):
    """The contents of manifest.json. `image_size` is the side in pixels of the square images that the graphs take."""

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
    files: dict[FileName, Sha256]

    @property
    def takes_labels(self) -> bool:
        """Whether a graph takes labels, so that a class can be asked for."""
        return any(tensor.name == "labels" for graph in self.graphs.values() for tensor in graph.inputs)
