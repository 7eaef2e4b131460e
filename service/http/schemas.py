"""The bodies of requests and answers over HTTP. /docs.json is made from them."""

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from service.http.limits import (
    MAX_IMAGES,
    MAX_NAME_CHARACTERS,
    MAX_PIXELS,
    MAX_REQUEST_BYTES,
    MAX_SAMPLES,
    MAX_WALK_STEPS,
)
from service.images import FORMATS, MAX_IMAGE_BYTES, MAX_IMAGE_SIDE
from service.published.conformal import DEFAULT_ALPHA, Rule
from service.published.detector import Row
from service.published.generator import MAX_SEED
from service.published.manifest import Guarantee, Metric, Provenance
from service.published.onnx_model import UsedDevice

Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]


class _Known(BaseModel):
    """Refuses unknown fields, so that a misspelt option is an error and not ignored."""

    model_config = ConfigDict(extra="forbid")


class ImageOptions(_Known):
    """Which detector takes the images, and how they are read."""

    model: Name | None = Field(
        None, description="Name of a detector or a group; see GET /models. If absent, the default detector."
    )
    invert: bool = Field(False, description="Say true if the images show dark glyphs on a light ground, as on paper.")


class ScoreOptions(ImageOptions):
    """How images are scored."""

    alpha: float = Field(
        DEFAULT_ALPHA,
        gt=0,
        lt=1,
        description="The false-positive rate allowed on normal images: an image is an anomaly if p_value <= alpha.",
    )
    strict: bool = Field(
        False,
        description="P-values for images of new groups, such as writers; only where the groups of the calibration images are known.",
    )
    confidence: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Lower the threshold, so that the calibration images at hand keep alpha with this probability, such as 0.95.",
    )

    @property
    def rule(self) -> Rule:
        """What the options say of p-values."""
        return Rule(self.alpha, self.strict, self.confidence)


Uploads = Annotated[
    list[UploadFile],
    Field(
        description=f"1 to {MAX_IMAGES} files, {', '.join(FORMATS)}, each at most {MAX_IMAGE_BYTES:,} bytes and "
        f"{MAX_IMAGE_SIDE} pixels a side. All together have at most {MAX_REQUEST_BYTES:,} bytes and {MAX_PIXELS:,} pixels; "
        "a progressive JPEG counts once per scan."
    ),
]


class ExplainOptions(ImageOptions):
    """How images are explained."""

    kind: Literal["heat", "difference"] = Field(
        "heat",
        description="heat: where the image is unlikely; difference: where it differs from its reconstruction.",
    )


class ImageForm(ImageOptions):
    """Uploaded images to reconstruct."""

    images: Uploads


class ExplainForm(ExplainOptions):
    """Uploaded images to explain."""

    images: Uploads


class ScoreForm(ScoreOptions):
    """Uploaded images to score."""

    images: Uploads


class ScoreArrayBody(ScoreOptions):
    """Images as nested lists of integers."""

    images: Annotated[
        list[Any],
        Field(
            description=f"1 to {MAX_IMAGES} grey images of one size, [N][height][width], each value an integer from 0 "
            f"(black) to 255 (white); at most {MAX_IMAGE_SIDE} pixels a side.",
            json_schema_extra={"items": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}},
        ),
    ]


class ScoreAnswer(BaseModel):
    """Scores in the order of the images sent."""

    model: str
    alpha: float
    strict: Literal[True] | None = Field(None, description="Present where strict p-values were asked for.")
    confidence: float | None = Field(None, description="Present where it was asked for.")
    threshold: float | None = Field(None, description="With confidence: the largest p_value that is an anomaly.")
    note: str | None = Field(None, description="Why no image can be an anomaly at this alpha, and what it would take.")
    results: list[Row]


class Picture(BaseModel):
    """One PNG file in base64."""

    id: str
    png: str


class Reconstruction(BaseModel):
    """One PNG file in base64; or `error`, the reason why the image could not be read."""

    id: str
    png: str | None = None
    error: str | None = None


class Explanation(Reconstruction):
    """The heat map as `png`, the image as the model sees it as `input`, its reconstruction if there is one; or `error`."""

    input: str | None = None
    reconstruction: str | None = None


class PictureAnswer(BaseModel):
    """Pictures in the order of the images sent."""

    model: str
    results: list[Reconstruction]


class ExplainAnswer(BaseModel):
    """Explanations in the order of the images sent."""

    model: str
    results: list[Explanation]


class _Generation(_Known):
    model: Name | None = Field(
        None, description="Name of a generator; see GET /models. If absent, the default generator."
    )
    class_name: Name | None = Field(
        None, alias="class", description="Name or index of a class. If absent, all classes in turn."
    )
    format: Literal["png", "json"] = Field(
        "png", description="One PNG with all images, or JSON with one PNG per image."
    )


Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class SampleQuery(_Generation):
    """What to generate. Image k depends on the seed and k only, never on n."""

    n: int = Field(16, ge=1, le=MAX_SAMPLES, description="Number of images.")
    seed: Seed = Field(0, description="The same seed gives the same bytes.")


class WalkQuery(_Generation):
    """The way from the first image of one seed to the first image of another."""

    start: Seed = Field(0, description="Seed of the first image.")
    end: Seed = Field(1, description="Seed of the last image.")
    steps: int = Field(8, ge=2, le=MAX_WALK_STEPS, description="Number of images, both ends included.")


class Sample(Picture):
    """One generated image; `id` is its place k."""

    class_name: str | None = Field(serialization_alias="class", description="Null if the model is not conditional.")


class SampleAnswer(BaseModel):
    """Generated images, in order."""

    model: str
    results: list[Sample]


class ModelSummary(BaseModel):
    """A served model."""

    name: str
    kind: Literal["detector", "generator"]
    summary: str
    image_size: int
    is_default: bool
    normal_classes: list[str] = Field(description="Detectors: the classes that the model takes for normal.")
    members: list[str] = Field(description="Groups: the names of their detectors.")
    class_names: list[str] = Field(description="Generators: the classes to choose from.")
    device: UsedDevice = Field(description="The device that computes the answers.")
    calibration_size: int | None = Field(description="Detectors: the number of normal images behind p_value.")
    smallest_p_value: float | None = Field(
        description="Detectors: the smallest p_value that an image can have. No smaller alpha raises an alarm."
    )
    reconstructs: bool = Field(
        description="Detectors: whether the model has reconstructions, l_con and latent. Without them /reconstruct is refused."
    )


class DriftState(BaseModel):
    """Whether the images scored since the start are like those that calibrated a model: the view of all workers."""

    raised: bool = Field(description="Whether the alarm was raised; it stays until the service starts again.")
    evidence: float = Field(description="Against no drift. The alarm is raised at 100.")
    shift: float | None = Field(
        description="How far the mean score of the last 1,000 images lies above normal, in standard deviations."
    )
    share: float | None = Field(description="How many of the last 1,000 images have p_value <= 0.05, from 0 to 1.")


class ModelDetails(ModelSummary):
    """A served model with metrics and provenance. For a group, see its members."""

    guarantee: Guarantee | None = Field(description="Detectors: what p_value promises, and how it was calibrated.")
    metrics: list[Metric]
    recipe: dict[str, Any] | None
    provenance: Provenance | None
    drift: DriftState | None = Field(None, description="Detectors: none before the first image was scored.")


class ModelList(BaseModel):
    """All served models, detectors first."""

    models: list[ModelSummary]


class Health(BaseModel):
    """The state of the service; the status of the answer says the same."""

    status: Literal["alive", "ready"]


class Refusal(BaseModel):
    """Why a request is refused, in one sentence."""

    detail: str
