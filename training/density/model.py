"""How unlikely an image is among normal images, by its neighbours and by a classifier of synthesised outliers."""

from typing import Any

import torch
from torch import Tensor, nn

from service import images
from training.density.features import FEATURES, Intensities, OrientedGradients, energy_map
from training.density.neighbours import Features, LocalHull
from training.density.outliers import KINDS
from training.families import Distance
from training.recipes import DensityRecipe

FLOOR = -1.0  # standard deviations: a part that sees a very normal image must not outvote a part that sees an odd one
PARTS = 3
CLASSES = 1 + len(KINDS)  # normal, and each kind of outlier


class Density(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1] to the unlikeliness of each among normal images, and a heat map.

    The weighted sum of three estimates of a negative log density, up to constants:

    - the distance by oriented gradients to the hull of the nearest normal images; see LocalHull;
    - the same distance by intensities;
    - the log odds of "outlier", by a classifier that learned to name the kind of outlier.

    A classifier's log odds estimate a density ratio (noise-contrastive estimation; Gutmann and Hyvaerinen, 2010). As in
    CutPaste (Li et al., arXiv:2104.04015), outliers are made from the normal images. Naming the kinds teaches more.

    Each part is standardised on normal images that it was not fitted on, and counts from FLOOR upwards.
    """

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    usual_energy: Tensor

    def __init__(self, hull: LocalHull, brightness: LocalHull | None, classifier: "OutlierClassifier") -> None:
        super().__init__()
        self.hull = hull
        self.brightness = brightness
        self.classifier = classifier
        self.register_buffer("weights", torch.ones(PARTS))
        self.register_buffer("mean", torch.zeros(PARTS))
        self.register_buffer("deviation", torch.ones(PARTS))
        self.register_buffer("usual_energy", torch.ones(()))

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return the density [N], the weighted sum of the standardised parts, and the heat map [N, 32, 32] in [0, 1).

        Heat says how much the oriented gradients around a pixel differ from the gradients of the nearest point of the hull.
        99 % of normal images stay below 0.5 everywhere.
        """
        deformed = self.hull.features.deformed(light)
        distance, nearest = self.hull.of(deformed)
        features = deformed[:, 0]
        energy = energy_map(features - nearest)
        by_brightness = torch.zeros_like(distance) if self.brightness is None else self.brightness(light)[0]
        parts = torch.stack([distance, by_brightness, self.classifier(features)], dim=1)
        return self.combined(parts), energy / (energy + self.usual_energy)

    def combined(self, parts: Tensor) -> Tensor:
        """Return the density [N] of `parts` [N, PARTS]: both log distances and the classifier's log odds."""
        return ((parts - self.mean) / self.deviation).clamp_min(FLOOR) @ self.weights

    def saved(self) -> dict[str, Any]:
        """Return all that `restored` needs."""
        hulls = [self.hull] if self.brightness is None else [self.hull, self.brightness]
        return {
            "distance": self.hull.distance.model_dump(),
            "hulls": [tuple(hull.prototypes.shape) for hull in hulls],
            "whitened": self.classifier.whitening.shape[1],
            "weights": self.state_dict(),
        }


def restored(saved: dict[str, Any], recipe: DensityRecipe) -> Density:
    """Return, in evaluation mode, the Density whose method `saved` returned the dictionary `saved`."""
    distance = Distance(**saved["distance"])
    features: list[Features] = [OrientedGradients(distance.roots), Intensities()]
    shapes = zip(features, saved["hulls"], strict=False)
    hulls = [LocalHull(kind, prototypes, components, distance) for kind, (prototypes, components) in shapes]
    brightness = hulls[1] if len(hulls) > 1 else None
    density = Density(hulls[0], brightness, OutlierClassifier(saved["whitened"], recipe.hidden))
    density.load_state_dict(saved["weights"])
    return density.eval()


class OutlierClassifier(nn.Module):
    """Features [N, FEATURES] to [N], log P(any outlier) - log P(normal), by a network that names the kind of outlier.

    The network sees whitened features: leading principal components, each in standard deviations of normal images.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, whitened: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        wide, narrow = hidden
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("whitening", torch.zeros(FEATURES, whitened))
        self.layers = nn.Sequential(
            nn.Linear(whitened, wide), nn.ReLU(), nn.Linear(wide, narrow), nn.ReLU(), nn.Linear(narrow, CLASSES)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return [N], the log odds of being an outlier."""
        return log_odds(self.layers(self.whiten(features)))

    def whiten(self, features: Tensor) -> Tensor:
        """Return `features` [N, FEATURES] as the classifier's input [N, whitened]."""
        return (features - self.mean) @ self.whitening


def log_odds(logits: Tensor) -> Tensor:
    """Return log P(any outlier) - log P(normal) [...] for `logits` [..., CLASSES], of which the first is the logit of normal."""
    return logits[..., 1:].logsumexp(dim=-1) - logits[..., 0]


def to_light(pixels: images.Pixels) -> Tensor:
    """Return uint8 `pixels` [N, 32, 32] as light images [N, 1, 32, 32] in [0, 1]."""
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255
