"""What the service answers about its models."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from service.http import examples
from service.http.schemas import example
from service.published.manifest import Guarantee, Metric, Provenance
from service.published.onnx_model import UsedDevice


class ModelSummary(BaseModel):
    """A served model."""

    name: str = Field(description="The name by which requests ask for it.")
    kind: Literal["detector", "generator"] = Field(description="Detectors score images, generators make them.")
    summary: str = Field(description="One line about the model.")
    image_size: int = Field(description="Side in pixels of the images that the model takes or makes.")
    is_default: bool = Field(description="Whether requests that name no model get this one.")
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

    model_config = example(examples.DETAILS)

    guarantee: Guarantee | None = Field(description="Detectors: what p_value promises, and how it was calibrated.")
    metrics: list[Metric] = Field(description="Its measured quality; empty for a group.")
    recipe: dict[str, Any] | None = Field(description="How it was trained, whole; null for a group.")
    provenance: Provenance | None = Field(description="Where its weights come from; null for a group.")
    pictures: list[str] = Field(description="Names of the files at GET /models/{name}/pictures/{picture}.")
    drift: DriftState | None = Field(None, description="Detectors: none before the first image was scored.")


class ModelList(BaseModel):
    """All served models, detectors first."""

    model_config = example(examples.MODELS)

    models: list[ModelSummary] = Field(description="Detectors, groups of them, then generators.")


class NormalImage(BaseModel):
    """A normal image that came with a model."""

    png: str = Field(description="The image, a PNG file in base64.")
    p_value: float = Field(description="Its p-value.")


class NormalImages(BaseModel):
    """What a detector compares images with."""

    model_config = example(examples.NORMAL)

    model: str = Field(description="The name of the detector.")
    scores: list[float] = Field(description="The scores of the normal images behind p_value, in ascending order.")
    images: list[NormalImage] = Field(description="Some normal images; none where no golden input looks normal.")
