"""The bodies of requests and answers over HTTP. /docs.json is made from them."""

from typing import Annotated, Any, Literal

from fastapi import Path, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from service.http import examples
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

Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
NameInPath = Annotated[str, Path(max_length=MAX_NAME_CHARACTERS, description="Name of a model; see GET /models.")]
Used = Annotated[str, Field(description="Name of the model that was used.")]
Png = Annotated[str, Field(description="A PNG file, base64.")]
NameOfImage = Annotated[str, Field(description="Name of the file, or position of the image.")]


def example(value: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a model whose schema shows `value`."""
    return ConfigDict(json_schema_extra={"examples": [value]})


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
        "a progressive JPEG counts once per scan.",
        json_schema_extra={
            "items": {"type": "string", "format": "binary"},  # what client generators take for a file
            "minItems": 1,
            "maxItems": MAX_IMAGES,
        },
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

    model_config = example(examples.IMAGE_FORM)

    images: Uploads


class ExplainForm(ExplainOptions):
    """Uploaded images to explain."""

    model_config = example(examples.EXPLAIN_FORM)

    images: Uploads


class ScoreForm(ScoreOptions):
    """Uploaded images to score."""

    model_config = example(examples.SCORE_FORM)

    images: Uploads


PIXELS = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 1},
    "minItems": 1,
}


class ScoreArrayBody(ScoreOptions):
    """Images as nested lists of integers."""

    model_config = example(examples.ARRAY_BODY)

    images: Annotated[
        list[Any],
        Field(
            description=f"1 to {MAX_IMAGES} grey images of one size, [N][height][width], each value an integer from 0 "
            f"(black) to 255 (white); at most {MAX_IMAGE_SIDE} pixels a side.",
            json_schema_extra={"items": PIXELS, "minItems": 1, "maxItems": MAX_IMAGES},
        ),
    ]


class ScoreAnswer(BaseModel):
    """Scores in the order of the images sent."""

    model_config = example(examples.SCORES)

    model: Used
    alpha: float = Field(description="As asked for: an image is an anomaly if its p_value is at most this.")
    strict: Literal[True] | None = Field(None, description="Present where strict p-values were asked for.")
    confidence: float | None = Field(None, description="Present where it was asked for.")
    threshold: float | None = Field(None, description="With confidence: the largest p_value that is an anomaly.")
    note: str | None = Field(None, description="Why no image can be an anomaly at this alpha, and what it would take.")
    results: list[Row] = Field(description="A row for each image, in the order sent.")


class Picture(BaseModel):
    """One PNG file in base64."""

    id: NameOfImage
    png: Png


class Reconstruction(BaseModel):
    """One PNG file in base64; or `error`, the reason why the image could not be read."""

    id: NameOfImage
    png: Png | None = Field(None, description="The picture that the route is named after: a PNG file, base64.")
    error: str | None = Field(None, description="Why the image could not be read.")


class Explanation(Reconstruction):
    """The heat map as `png`, the image as the model sees it as `input`, its reconstruction if there is one; or `error`."""

    input: str | None = Field(None, description="The image as the model sees it: a PNG file, base64.")
    reconstruction: str | None = Field(None, description="What the model makes of it: a PNG file, base64.")


class PictureAnswer(BaseModel):
    """Pictures in the order of the images sent."""

    model_config = example(examples.PICTURES)

    model: Used
    results: list[Reconstruction] = Field(description="A picture for each image, in the order sent.")


class ExplainAnswer(BaseModel):
    """Explanations in the order of the images sent."""

    model_config = example(examples.EXPLANATIONS)

    model: Used
    results: list[Explanation] = Field(description="An explanation for each image, in the order sent.")


class _Generation(_Known):
    model: Name | None = Field(
        None, description="Name of a generator; see GET /models. If absent, the default generator."
    )
    class_name: Name | None = Field(
        None, alias="class", description="Name or index of a class. If absent, all classes in turn."
    )
    format: Literal["png", "json"] | None = Field(
        None,
        description="One PNG with all images, or JSON with one PNG per image. If absent, JSON if Accept asks for it, else PNG.",
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

    class_name: str | None = Field(
        serialization_alias="class", description="Name of its class; null if the model is not conditional."
    )


class SampleAnswer(BaseModel):
    """Generated images, in order."""

    model_config = example(examples.SAMPLES)

    model: Used
    results: list[Sample] = Field(description="The images in order.")


class Health(BaseModel):
    """The state of the service; the status of the answer says the same."""

    model_config = example({"status": "ready"})

    status: Literal["alive", "ready"] = Field(description="What the service is.")


class Refusal(BaseModel):
    """Why a request is refused, in one sentence."""

    model_config = example(examples.REFUSAL)

    detail: str = Field(description="What was expected, what was got and what to do.")
