"""How unlikely an image is among the normal ones: neighbours and synthesised outliers, seen by its oriented gradients."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from service import images
from training.data import NormalSplit
from training.gradients import FEATURES, OrientedGradients, energy_map
from training.outliers import KINDS, jitter, outliers
from training.recipes import DensityRecipe

BATCH = 256
FLOOR = -1.0  # standard deviations: a part that finds an image very normal must not outvote one that finds it odd


class Density(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1] to how unlikely each is among the normal ones, and a map of what is odd.

    The sum of two estimates of a negative log density, up to constants, on the same oriented gradients:

    - the distance to the nearest normal images (k-NN density, Loftsgaarden and Quesenberry, 1965);
    - the log ratio of the probabilities that the image is one of the outliers synthesised from normal images or is
      normal, from a classifier that learned to name the kind of outlier. That a classifier's log ratio estimates a
      density is noise-contrastive estimation (Gutmann and Hyvaerinen, 2010); outliers made from the normal images
      themselves are what CutPaste (Li et al., arXiv:2104.04015) uses; we keep the kinds apart, which teaches more.

    Each is standardised on held-out normal images and counts from FLOOR upwards; the second by `classifier_weight`.
    """

    mean: Tensor
    deviation: Tensor
    usual_energy: Tensor

    def __init__(self, recipe: DensityRecipe, normal_images: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.gradients = OrientedGradients()
        self.neighbours = Neighbours(min(recipe.prototypes, normal_images), recipe.components, recipe.neighbours)
        self.classifier = OutlierClassifier(recipe.hidden)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("deviation", torch.ones(2))
        self.register_buffer("usual_energy", torch.ones(()))

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return the density [N], the weighted sum of both standardised parts, and the heat map [N, 32, 32] in [0, 1).

        Heat is by how much the oriented gradients around a pixel differ from those of the nearest normal images: 0.5 is
        the most that all but 1 % of normal images reach anywhere.
        """
        parts, energy = self.parts(light)
        near, ratio = ((parts - self.mean) / self.deviation).clamp_min(FLOOR).unbind(dim=1)
        return near + self.recipe.classifier_weight * ratio, energy / (energy + self.usual_energy)

    def parts(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return both parts before standardisation [N, 2], and the energy of what is odd around each pixel [N, 32, 32]."""
        features = self.gradients(light)
        distance, nearest = self.neighbours(features)
        return torch.stack([distance, self.classifier(features)], dim=1), energy_map(features - nearest)

    def fit(self, light: Tensor, held_out: Tensor, generator: torch.Generator) -> None:
        """Fit on normal images `light`, and standardise on other normal images, `held_out`."""
        if len(light) > self.recipe.max_images:
            light = light[torch.randperm(len(light), generator=generator)[: self.recipe.max_images]]
        self.neighbours.fit(self._features(light), generator)
        fit_classifier(self.classifier, *self._examples(light, generator), self.recipe, generator)
        with torch.no_grad():
            parts, energy = (torch.cat(p) for p in zip(*map(self.parts, held_out.split(BATCH)), strict=True))
        self.usual_energy.copy_(energy.amax(dim=(1, 2)).quantile(0.99))
        self.mean.copy_(parts.mean(dim=0))
        self.deviation.copy_(parts.std(dim=0).clamp_min(1e-6))

    def _examples(self, light: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return features and labels, 0 for normal, 1 + kind for outliers: two parts normal, `outliers` parts not."""
        normal = torch.cat([self._features(light), self._features(jitter(light, generator))])
        features, labels = [normal], [torch.zeros(len(normal), dtype=torch.int64)]
        for _ in range(self.recipe.outliers):
            made, kinds = outliers(light, generator)
            features.append(self._features(made))
            labels.append(kinds + 1)
        return torch.cat(features), torch.cat(labels)

    @torch.no_grad()
    def _features(self, light: Tensor) -> Tensor:
        return torch.cat([self.gradients(batch) for batch in light.split(BATCH)])


def fit_density(normal: NormalSplit, recipe: DensityRecipe, seed: int) -> Density:
    """Return the density of `normal`, standardised on its validation part; the same `seed`, the same density."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)  # initial weights and dropout
        density = Density(recipe, len(normal.fit))
        density.fit(to_light(normal.fit), to_light(normal.validation), torch.Generator().manual_seed(seed))
    return density.eval()


def to_light(pixels: images.Pixels) -> Tensor:
    """Return uint8 `pixels` [N, 32, 32] as light images [N, 1, 32, 32] in [0, 1]."""
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255


class Neighbours(nn.Module):
    """Features [N, F] to the nearest prototypes, in the leading principal components.

    The prototypes are fitted features, kept in half precision: the files are half as large.
    """

    mean: Tensor
    directions: Tensor
    prototypes: Tensor

    def __init__(self, prototypes: int, components: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("directions", torch.zeros(FEATURES, components))
        self.register_buffer("prototypes", torch.zeros(prototypes, components, dtype=torch.float16))

    def fit(self, features: Tensor, generator: torch.Generator) -> None:
        """Take the principal components of `features` [N, F], and as many of them as there are prototypes, at random."""
        self.mean.copy_(features.mean(dim=0))
        centred = features - self.mean
        _, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
        self.directions.copy_(directions[:, -self.directions.shape[1] :])
        chosen = torch.randperm(len(features), generator=generator)[: len(self.prototypes)]
        self.prototypes.copy_(centred[chosen] @ self.directions)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log mean square distance to the nearest prototypes [N], and the mean of these [N, F]."""
        projected, prototypes = (features - self.mean) @ self.directions, self.prototypes.float()
        squares = projected.square().sum(dim=1, keepdim=True) + prototypes.square().sum(dim=1)
        distances = (squares - 2 * projected @ prototypes.T).clamp_min(0)  # [N, prototypes]
        nearest, chosen = distances.topk(self.neighbours, largest=False)
        mean = prototypes[chosen].mean(dim=1) @ self.directions.T + self.mean
        return (nearest.mean(dim=1) + 1e-3).log(), mean


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
