"""How unlikely an image is among the normal ones: by its neighbours and by synthesised outliers."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from service import images
from training.data import NormalSplit
from training.density.features import FEATURES, Intensities, OrientedGradients, energy_map
from training.density.neighbours import BATCH, Neighbours, separation
from training.density.outliers import KINDS, jitter, outliers
from training.export import round_to_half
from training.recipes import DensityRecipe

HELD_OUT_OUTLIERS = 2  # for each held-out normal image
INTENSITY_WEIGHTS = (0.0, 0.5, 1.0)
NEIGHBOURS_AMONG_STRANGERS = 20  # with fewer, the strangers that were not found would vouch for those of their kind
FLOOR = -1.0  # standard deviations: a part that finds an image very normal must not outvote one that finds it odd


class Density(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1] to how unlikely each is among the normal ones, and a map of what is odd.

    The weighted sum of three estimates of a negative log density, up to constants:

    - the distance to the nearest normal images by oriented gradients, and that by intensities; see Neighbours;
    - the log ratio of the probabilities that the image is one of the outliers synthesised from normal images or is
      normal, from a classifier that learned to name the kind of outlier. That a classifier's log ratio estimates a
      density is noise-contrastive estimation (Gutmann and Hyvaerinen, 2010); outliers made from the normal images
      themselves are what CutPaste (Li et al., arXiv:2104.04015) uses; we keep the kinds apart, which teaches more.

    Each is standardised on held-out normal images and counts from FLOOR upwards. How stiff normal images are, how much
    faint gradients count and how much intensities, is what tells held-out normal images from outliers made of them best.
    """

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    usual_energy: Tensor

    def __init__(self, recipe: DensityRecipe, normal_images: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.prototypes = min(recipe.prototypes, normal_images)
        self.gradients = self._neighbours(OrientedGradients())
        self.intensities: Neighbours | None = self._neighbours(Intensities())
        self.classifier = OutlierClassifier(recipe.hidden)
        self.register_buffer("weights", torch.ones(3))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("deviation", torch.ones(3))
        self.register_buffer("usual_energy", torch.ones(()))

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return the density [N], the weighted sum of the standardised parts, and the heat map [N, 32, 32] in [0, 1).

        Heat is by how much the oriented gradients around a pixel differ from those of the nearest normal images: 0.5 is
        the most that all but 1 % of normal images reach anywhere.
        """
        parts, energy = self.parts(light)
        standardised = ((parts - self.mean) / self.deviation).clamp_min(FLOOR)
        return standardised @ self.weights, energy / (energy + self.usual_energy)

    def parts(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parts before standardisation [N, 3], and the energy of what is odd around each pixel [N, 32, 32]."""
        features = self.gradients.features(light)
        distance, nearest = self.gradients(light)
        by_intensity = torch.zeros_like(distance) if self.intensities is None else self.intensities(light)[0]
        parts = torch.stack([distance, by_intensity, self.classifier(features)], dim=1)
        return parts, energy_map(features - nearest)

    def fit(self, light: Tensor, held_out: Tensor, generator: torch.Generator) -> None:
        """Fit on normal images `light`; choose and standardise on other normal images, `held_out`."""
        if len(light) > self.recipe.max_images:
            light = light[torch.randperm(len(light), generator=generator)[: self.recipe.max_images]]
        self._fit_neighbours(light, held_out, generator)
        fit_classifier(self.classifier, *self._examples(light, generator), self.recipe, generator)
        round_to_half(self.classifier)
        with torch.no_grad():
            parts, energy = (torch.cat(p) for p in zip(*map(self.parts, held_out.split(BATCH)), strict=True))
        self.usual_energy.copy_(energy.amax(dim=(1, 2)).quantile(0.99))
        self.mean.copy_(parts.mean(dim=0))
        self.deviation.copy_(parts.std(dim=0).clamp_min(1e-6))

    def _fit_neighbours(self, light: Tensor, held_out: Tensor, generator: torch.Generator) -> None:
        """Fit by all features, and keep those whose weighted sum tells `held_out` from outliers made of it best."""
        made = torch.cat([outliers(held_out, generator)[0] for _ in range(HELD_OUT_OUTLIERS)])
        fitted = []
        for features in (OrientedGradients(roots=1), OrientedGradients(roots=2), Intensities()):
            neighbours = self._neighbours(features)
            neighbours.fit(light, generator)
            fitted.append((neighbours, *standardised(*neighbours.fit_stiffness(held_out, made))))
        *by_gradients, (intensities, normal, odd) = fitted
        _, self.gradients, weight = max(
            (
                (separation(n + w * normal, o + w * odd), gradients, w)
                for gradients, n, o in by_gradients
                for w in INTENSITY_WEIGHTS
            ),
            key=lambda choice: choice[0],
        )
        self.intensities = intensities if weight else None
        self.weights.copy_(torch.tensor([1, weight, self.recipe.classifier_weight]))

    def _neighbours(self, features: OrientedGradients | Intensities) -> Neighbours:
        return Neighbours(features, self.prototypes, self.recipe.components, self.recipe.neighbours)

    @torch.no_grad()
    def _examples(self, light: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return features and labels, 0 for normal, 1 + kind for outliers: two parts normal, `outliers` parts not."""
        normal = torch.cat([self._features(light), self._features(jitter(light, generator))])
        features, labels = [normal], [torch.zeros(len(normal), dtype=torch.int64)]
        for _ in range(self.recipe.outliers):
            made, kinds = outliers(light, generator)
            features.append(self._features(made))
            labels.append(kinds + 1)
        return torch.cat(features), torch.cat(labels)

    def _features(self, light: Tensor) -> Tensor:
        return torch.cat([self.gradients.features(batch) for batch in light.split(BATCH)])


def standardised(normal: Tensor, outliers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores `normal` and `outliers` in standard deviations of the former, from FLOOR upwards."""
    mean, deviation = normal.mean(), normal.std().clamp_min(1e-6)
    return ((normal - mean) / deviation).clamp_min(FLOOR), ((outliers - mean) / deviation).clamp_min(FLOOR)


def fit_density(normal: NormalSplit, recipe: DensityRecipe, seed: int) -> Density:
    """Return the density of `normal`, standardised on its validation part; the same `seed`, the same density."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)  # initial weights and dropout
        light, held_out = to_light(normal.fit), to_light(normal.validation)
        if recipe.contamination:
            light, held_out = without_strangers(light, held_out, recipe)
            neighbours = max(recipe.neighbours, NEIGHBOURS_AMONG_STRANGERS)
            recipe = recipe.model_copy(update={"neighbours": neighbours})
        density = Density(recipe, len(light))
        density.fit(light, held_out, torch.Generator().manual_seed(seed))
    return density.eval()


def without_strangers(light: Tensor, held_out: Tensor, recipe: DensityRecipe) -> tuple[Tensor, Tensor]:
    """Return normal images `light` without those that are most likely not normal, and such of `held_out`.

    The fraction `recipe.contamination` goes that is farthest from its k-th nearest image by oriented gradients, k being
    as many images: if no more are strangers, none has k of its kind around it. Of `held_out` goes what is as far, but
    no more than half.
    """
    neighbours = Neighbours(OrientedGradients(), len(light), recipe.components, recipe.neighbours)
    neighbours.fit(light, torch.Generator())
    k = 1 + int(recipe.contamination * len(light))
    distances = neighbours.to_nth(light, k + 1)  # the nearest is the image itself
    limit, of_held_out = distances.quantile(1 - recipe.contamination), neighbours.to_nth(held_out, k)
    return light[distances <= limit], held_out[of_held_out <= torch.maximum(limit, of_held_out.median())]


def to_light(pixels: images.Pixels) -> Tensor:
    """Return uint8 `pixels` [N, 32, 32] as light images [N, 1, 32, 32] in [0, 1]."""
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255


class OutlierClassifier(nn.Module):
    """Features [N, F] to [N], log P(any outlier) - log P(normal), by a network that names the kind of outlier."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, hidden: tuple[int, int]) -> None:
        super().__init__()
        wide, narrow = hidden
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("deviation", torch.ones(FEATURES))
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, wide),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(wide, narrow),
            nn.ReLU(),
            nn.Linear(narrow, 1 + len(KINDS)),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return [N], the log odds of being an outlier."""
        logits = self.logits(features)
        return logits[:, 1:].logsumexp(dim=1) - logits[:, 0]

    def logits(self, features: Tensor) -> Tensor:
        """Return [N, 1 + kinds], the normal class first."""
        logits: Tensor = self.layers((features - self.mean) / self.deviation)
        return logits


def fit_classifier(
    classifier: OutlierClassifier, features: Tensor, labels: Tensor, recipe: DensityRecipe, generator: torch.Generator
) -> None:
    """Train `classifier` on `features` [N, F] with `labels` [N], normal and outliers weighing the same in total."""
    normal = features[labels == 0]
    classifier.mean.copy_(normal.mean(dim=0))
    classifier.deviation.copy_(normal.std(dim=0) + 0.02)  # a bin that normal images leave empty must not explode
    weights = torch.ones(1 + len(KINDS))
    weights[0] = (labels > 0).sum() / len(normal)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
    steps = recipe.epochs * -(-len(features) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps)
    classifier.train()
    for batch in _batches(len(features), recipe, generator):
        loss = functional.cross_entropy(classifier.logits(features[batch]), labels[batch], weight=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    classifier.eval()


def _batches(count: int, recipe: DensityRecipe, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(recipe.epochs):
        yield from torch.randperm(count, generator=generator).split(recipe.batch_size)
