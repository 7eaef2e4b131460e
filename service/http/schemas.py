"""The bodies of requests and answers over HTTP, as /docs.json documents them."""

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
from service.published.detector import DEFAULT_ALPHA, Row
from service.published.generator import MAX_SEED
from service.published.manifest import Metric, Provenance

Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]


class _Known(BaseModel):
    """Refuses fields it does not know, so that a misspelt option is an error rather than ignored."""

    model_config = ConfigDict(extra="forbid")


class ImageOptions(_Known):
    """How images are read, and by which detector."""

    model: Name | None = Field(
        None, description="Name of a detector or a group; see GET /models. Absent: the default one."
    )
    invert: bool = Field(False, description="The images show dark glyphs on a light ground, as paper does.")


class ScoreOptions(ImageOptions):
    """How images are scored."""

    alpha: float = Field(
        DEFAULT_ALPHA,
        gt=0,
        lt=1,
        description="Largest share of normal images that may be called anomalies: p_value <= alpha is an anomaly.",
    )


Uploads = Annotated[
    list[UploadFile],
    Field(
        description=f"1 to {MAX_IMAGES} files, {', '.join(FORMATS)}, each at most {MAX_IMAGE_BYTES:,} bytes and "
        f"{MAX_IMAGE_SIDE} pixels a side; all together at most {MAX_REQUEST_BYTES:,} bytes and {MAX_PIXELS:,} pixels, times the scans of a JPEG."
    ),
]


class ImageForm(ImageOptions):
    """Uploaded images to reconstruct or explain."""

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
    results: list[Row]


class Picture(BaseModel):
    """One PNG file, base64."""

    id: str
    png: str


class Reconstruction(BaseModel):
    """One PNG file, base64, or else `error`: why the image could not be read."""

    id: str
    png: str | None = None
    error: str | None = None


class Explanation(Reconstruction):
    """The heat map as `png`, beside the image as the model sees it, and its reconstruction; or else `error`."""

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
    model: Name | None = Field(None, description="Name of a generator; see GET /models. Absent: the default one.")
    class_name: Name | None = Field(None, alias="class", description="Name or index of a class. Absent: mixed.")
    format: Literal["png", "json"] = Field("png", description="One PNG of all images, or JSON with a PNG for each.")


Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class SampleQuery(_Generation):
    """What to generate. Image k depends on (seed, k) only, whatever n."""

    n: int = Field(16, ge=1, le=MAX_SAMPLES, description="Number of images.")
    seed: Seed = Field(0, description="The same seed gives the same bytes.")


class WalkQuery(_Generation):
    """The way from the first image of one seed to that of another."""

    start: Seed = Field(0, description="Seed of the first image.")
    end: Seed = Field(1, description="Seed of the last image.")
    steps: int = Field(8, ge=2, le=MAX_WALK_STEPS, description="Number of images, both ends included.")


class Sample(Picture):
    """One generated image; `id` is its place k."""

    class_name: str | None = Field(serialization_alias="class", description="None: the model is not conditional.")


class SampleAnswer(BaseModel):
    """Generated images in order."""

    model: str
    results: list[Sample]


class ModelSummary(BaseModel):
    """A served model in one line."""

    name: str
    kind: Literal["detector", "generator"]
    summary: str
    image_size: int
    is_default: bool
    normal_classes: list[str] = Field(description="Detectors: what the model was taught is normal.")
    members: list[str] = Field(description="Groups: the detectors that are asked; see `closest` of a score.")
    class_names: list[str] = Field(description="Generators: the classes that can be asked for.")
    calibration_size: int | None = Field(description="Detectors: number of held-out normal images behind p_value.")


class ModelDetails(ModelSummary):
    """A served model with its measured quality and where its weights come from; of a group, its members tell that."""

    metrics: list[Metric]
    recipe: dict[str, Any] | None
    provenance: Provenance | None


class ModelList(BaseModel):
    """All served models, detectors first."""

    models: list[ModelSummary]


class Refusal(BaseModel):
    """Why a request is not served: one sentence."""

    detail: str
