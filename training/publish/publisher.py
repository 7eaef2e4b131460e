"""Which publisher a run gets. Whatever can be refused is refused before the expensive work."""

import re
from collections.abc import Callable
from pathlib import Path

from service.published.artifact import Artifact
from training import data_sets
from training.errors import DataError
from training.options import Measuring
from training.publish.classifier import publish_classifier
from training.publish.detector import publish_detector
from training.publish.finished import Finished, Target
from training.publish.generator import publish_generator
from training.recipes import Recipe
from training.run.folder import Request

Publisher = Callable[[Finished], Artifact]


def publisher_of(recipe: Recipe, data_name: str, target: Target, data_root: Path, measuring: Measuring) -> Publisher:
    """Return the function that publishes at `target` a finished run of `recipe` on the data set `data_name`.

    ArtifactError if the name is taken. DataError or MetricError if test images or networks to measure with are missing.
    No network sees the real images yet, since that takes minutes.
    """
    target.require_free()
    if recipe.family == "gan":
        judge = measuring.judge(data_name, data_root)
        return lambda done: publish_generator(done, target, judge.measure)
    if recipe.family == "classifier":
        _require_test_split(data_name, data_root)
        return lambda done: publish_classifier(done, target, data_root)
    return lambda done: publish_detector(done, target, data_root)


def default_name(request: Request) -> str:
    """Return the default name of a model: data and normal classes, data and recipe, or a classifier's recipe."""
    recipe, family = request.recipe["name"], request.recipe["family"]
    words = {"classifier": recipe, "gan": f"{request.data} {recipe}"}
    text = words.get(family, f"{Path(request.data).stem} {' '.join(request.normal_classes)}")
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _require_test_split(data_name: str, data_root: Path) -> None:
    if not len(data_sets.load_colour(data_name, data_root).test.pixels):
        raise DataError(f"data set {data_name}: expected a test split to measure on, found none; add one")
