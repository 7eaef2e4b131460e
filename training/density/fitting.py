"""How a density is fitted at the end of `fit`: neighbours, choices, outlier classifiers, and calibration scores."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from lightning_fabric import Fabric
from torch import Tensor

from training.data import Examples, NormalSplit
from training.density.features import FEATURES, Intensities, OrientedGradients, energy_map
from training.density.learner import OutlierLearner
from training.density.model import CLASSES, Density, OutlierClassifier, restored, to_light
from training.density.neighbours import (
    BATCH,
    Features,
    LocalHull,
    Queries,
    features_of,
    principal_components,
)
from training.density.outliers import jitter, outliers
from training.density.trimming import nearest, usual
from training.errors import RunError
from training.families import Distance
from training.recipes import DensityRecipe
from training.run.folder import Run
from training.run.loop import fit

CHOICE_IMAGES = 3000  # that tell strokes from surfaces, as neighbours
JUDGED_IMAGES = 300  # of these, that are judged by the others
REFITTED = 1000  # images: fewer are calibrated by densities that were fitted wholly without them
HEAT_IMAGES = 1000  # normal images that say which heat is usual
MIN_JITTERED, MIN_OUTLIERS, MIN_STEPS = 600, 2000, 600  # few images are shown more often
WATCHED = 1000  # examples by which the training's progress is shown


@dataclass(frozen=True)
class Fitted:
    """A density, and the `scores` [n] of normal images by models that have not seen the image's group.

    `indices` [n] are the positions of these images among the images that the density was fitted on.
    """

    density: Density
    scores: Tensor
    indices: Tensor

    def saved(self) -> dict[str, Any]:
        """Return all that `restored` needs."""
        return {"density": self.density.saved(), "scores": self.scores, "indices": self.indices}

    @classmethod
    def restored(cls, saved: dict[str, Any], recipe: DensityRecipe) -> Self:
        """Return the object whose method `saved` returned the dictionary `saved`; RunError for one of an earlier form."""
        if "distance" not in saved["density"]:
            raise RunError("the run: has a density of an earlier form, which cannot be read; fit it again")
        return cls(restored(saved["density"], recipe), saved["scores"], saved["indices"])


def fit_density(
    normal: NormalSplit, recipe: DensityRecipe, seed: int, fabric: Fabric, run: Run | None = None
) -> Fitted:
    """Return the density of the images `normal`; the same `seed`, the same density.

    Every image calibrates, and all are fitted but those that `trimming` leaves out. An image's distance is taken without
    its own group. Its log odds come from a classifier that was trained without its fold (cross-conformal prediction; Vovk,
    2015). Only the principal components and the trimming have seen all images. Of fewer than REFITTED images that would
    be too much: each is scored by a density that was fitted on the other folds alone, and so has seen nothing of it.
    `run` keeps checkpoints and figures; if it holds a checkpoint, it is continued.
    """
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randperm(len(normal.pixels), generator=generator)[: recipe.max_images].sort().values
    chosen = Queries(to_light(normal.pixels[indices.numpy()]), torch.from_numpy(normal.groups)[indices])
    density, scores = _fit_all(chosen, recipe, seed, generator, fabric, run)
    if len(chosen) < REFITTED:
        scores = _by_refits(chosen, recipe, seed, fabric)
    return Fitted(density, scores, indices)


def _fit_all(
    every: Queries,
    recipe: DensityRecipe,
    seed: int,
    generator: torch.Generator,
    fabric: Fabric,
    run: Run | None = None,
) -> tuple[Density, Tensor]:
    """Return the density of `every` image, and their scores [n] without their own group or fold."""
    distance = _strokes_or_surfaces(every, recipe, generator, fabric.device)
    kept = every[_fitted_on(every, distance, recipe)]
    hull, brightness = _fit_hulls(kept, distance, recipe, generator, fabric.device)
    classifier, odds = _fit_classifier(every, kept, hull, recipe, seed, generator, fabric, run)
    density = Density(hull, brightness if distance.brightness_weight else None, classifier).to(fabric.device)
    density.weights.copy_(torch.tensor([1, distance.brightness_weight, distance.classifier_weight]))
    by_brightness = brightness.leave_group_out(every) if distance.brightness_weight else torch.zeros_like(odds)
    parts = torch.stack([hull.leave_group_out(every), by_brightness, odds], dim=1)
    density.mean.copy_(parts.mean(dim=0))
    density.deviation.copy_(parts.std(dim=0).clamp_min(1e-6))
    density.usual_energy.copy_(_usual_energy(hull, kept))
    return density.cpu().eval(), density.combined(parts.cpu())


@torch.no_grad()
def _by_refits(every: Queries, recipe: DensityRecipe, seed: int, fabric: Fabric) -> Tensor:
    """Return the score of each image [n] by a density of the other folds."""
    folds = Folds(every.groups, recipe.folds, torch.Generator().manual_seed(seed))
    fold, scores = folds.of(every.groups), torch.zeros(len(every))
    for held_out in range(folds.count):
        with torch.enable_grad():
            density, _ = _fit_all(every[fold != held_out], recipe, seed, torch.Generator().manual_seed(seed), fabric)
        light = every.light[fold == held_out]
        scores[fold == held_out] = torch.cat([density(batch)[0] for batch in light.split(BATCH)])
    return scores


def _strokes_or_surfaces(
    every: Queries, recipe: DensityRecipe, generator: torch.Generator, device: torch.device
) -> Distance:
    """Return how distances are taken: as for strokes, or as for surfaces.

    Neighbours of surfaces explain brightness about as well as gradients. Neighbours of strokes explain it half as well.
    """
    chosen = every[torch.randperm(len(every), generator=generator)[:CHOICE_IMAGES]]
    hulls = _fit_hulls(chosen, recipe.strokes, recipe, generator, device)
    gradients, brightness = (hull.unexplained(chosen[:JUDGED_IMAGES]) for hull in hulls)
    return recipe.surfaces if brightness <= recipe.surface_ratio * gradients else recipe.strokes


def _fitted_on(every: Queries, distance: Distance, recipe: DensityRecipe) -> Tensor:
    """Return which of the images [n] are fitted on."""
    if recipe.contamination:
        return nearest(every, distance, recipe.components, recipe.contamination)
    if distance.tolerance is not None:
        return usual(every, distance, recipe.components, distance.tolerance)
    return torch.ones(len(every), dtype=torch.bool)


def _fit_hulls(
    kept: Queries, distance: Distance, recipe: DensityRecipe, generator: torch.Generator, device: torch.device
) -> tuple[LocalHull, LocalHull]:
    """Return the hulls of the images `kept` by gradients and by brightness; few are jittered to find the components."""
    some = kept.light[:MIN_JITTERED]
    more = torch.cat([jitter(some, generator) for _ in range(_rounds(MIN_JITTERED, len(some)))])[:MIN_JITTERED]
    components, prototypes = min(recipe.components, len(kept) + len(more) - 1), min(recipe.prototypes, len(kept))
    kinds: tuple[Features, Features] = (OrientedGradients(distance.roots), Intensities())
    first, second = (LocalHull(features, prototypes, components, distance).to(device) for features in kinds)
    for hull in (first, second):
        hull.fit(kept.light, kept.groups, more, generator)
    return first, second


def _fit_classifier(
    every: Queries,
    kept: Queries,
    hull: LocalHull,
    recipe: DensityRecipe,
    seed: int,
    generator: torch.Generator,
    fabric: Fabric,
    run: Run | None,
) -> tuple[OutlierClassifier, Tensor]:
    """Return the classifier of made outliers, and the log odds of `every` image by a classifier without its fold."""
    folds = Folds(every.groups, recipe.folds, generator)
    shown, classes = _examples(kept, recipe, generator)
    features = features_of(hull.features, shown.light)
    classifier = _whitening(features[classes == 0], recipe).to(fabric.device)
    examples = Examples(classifier.whiten(features), classes + CLASSES * folds.of(shown.groups))
    watched = examples[torch.randperm(len(examples), generator=generator)[:WATCHED]]
    steps = max(1, len(examples) // recipe.batch_size)
    epochs = max(recipe.epochs, -(-MIN_STEPS // steps))
    balance = float((classes > 0).sum() / (classes == 0).sum())
    whitened = classifier.whitening.shape[1]
    learner = OutlierLearner(recipe, fabric, epochs * steps, seed, whitened, folds.count, balance)
    batch_size = min(recipe.batch_size, len(examples))
    fit(learner, examples, watched, epochs=epochs, batch_size=batch_size, seed=seed, run=run, fabric=fabric)
    learner.finish(classifier)
    judged = classifier.whiten(features_of(hull.features, every.light))
    return classifier, learner.out_of_fold(judged, folds.of(every.groups))


class Folds:
    """A random partition of groups into at most `count` folds, each of whole groups."""

    def __init__(self, groups: Tensor, count: int, generator: torch.Generator) -> None:
        self._ids = groups.unique()
        self.count = min(count, len(self._ids))
        self._folds = torch.randperm(len(self._ids), generator=generator) % self.count

    def of(self, groups: Tensor) -> Tensor:
        """Return the fold of each group [N]."""
        return self._folds[torch.searchsorted(self._ids, groups)]


def _examples(kept: Queries, recipe: DensityRecipe, generator: torch.Generator) -> tuple[Queries, Tensor]:
    """Return normal, jittered and outlier images, and the class of each: 0 for normal, 1 + the kind for an outlier."""
    jittered = [jitter(kept.light, generator) for _ in range(_rounds(MIN_JITTERED, len(kept)))]
    made = [outliers(kept.light, generator) for _ in range(_rounds(MIN_OUTLIERS, len(kept), recipe.outliers))]
    light = torch.cat([kept.light, *jittered, *(one.light for one in made)])
    groups = torch.cat([kept.groups.repeat(1 + len(jittered)), *(kept.groups[one.sources] for one in made)])
    classes = torch.cat([torch.zeros(len(kept) * (1 + len(jittered)), dtype=torch.int64), *(1 + m.kinds for m in made)])
    return Queries(light, groups), classes


def _whitening(normal: Tensor, recipe: DensityRecipe) -> OutlierClassifier:
    """Return a classifier, not yet trained, that whitens by the features `normal` [N, FEATURES]."""
    mean, directions = principal_components(normal, min(recipe.whitened, len(normal) - 1, FEATURES))
    deviation = ((normal - mean) @ directions).std(dim=0)
    with torch.random.fork_rng(devices=()):  # keep the global random state: these first weights are never used
        classifier = OutlierClassifier(directions.shape[1], recipe.hidden)
    classifier.mean = mean
    classifier.whitening = (directions / deviation.clamp_min(1e-3)).half().float()
    return classifier


@torch.no_grad()
def _usual_energy(hull: LocalHull, kept: Queries) -> Tensor:
    """Return the 99 % quantile over normal images of their highest energy, each taken without its own group."""
    chosen = kept[:HEAT_IMAGES]
    energies = []
    for light, own in zip(chosen.light.split(BATCH), chosen.groups.split(BATCH), strict=True):
        deformed = hull.features.deformed(light.to(hull.mean.device))
        nearest = hull.of(deformed, own)[1]
        energies.append(energy_map(deformed[:, 0] - nearest).amax(dim=(1, 2)))
    return torch.cat(energies).quantile(0.99)


def _rounds(wanted: int, images: int, least: int = 1) -> int:
    """Return how often to go through `images` so that there are `wanted` in all, but `least` times."""
    return max(least, -(-wanted // images))
