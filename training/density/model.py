"""How unlikely an image is among the normal ones: by its neighbours and by made outliers."""

from typing import Any

import torch
from torch import Tensor, nn

from service import images
from training.density.features import FEATURES, Intensities, OrientedGradients, energy_map
from training.density.neighbours import Features, LocalHull
from training.density.outliers import KINDS
from training.recipes import DensityRecipe

FLOOR = -1.0  # standard deviations: a part that finds an image very normal must not outvote one that finds it odd
PARTS = 3
CLASSES = 1 + len(KINDS)  # normal, and each kind of outlier


class Density(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1] to how unlikely each is among the normal ones, and a map of what is odd.

    The weighted sum of three estimates of a negative log density, up to constants:

    - the distance to the hull of the nearest normal images by oriented gradients, and that by intensities; see LocalHull;
    - the log ratio of the probabilities that the image is an outlier made from normal images, or is normal, from a
      classifier that learned to name the kind of outlier. That a classifier's log ratio estimates a density is
      noise-contrastive estimation (Gutmann and Hyvaerinen, 2010). Outliers made from the normal images themselves are
      what CutPaste (Li et al., arXiv:2104.04015) uses; we keep the kinds apart, which teaches more.

    Each is standardised on normal images that it was not fitted on, and counts from FLOOR upwards.
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

        Heat is by how much the oriented gradients around a pixel differ from those of the nearest point among normal
        images: 0.5 is the most that all but 1 % of normal images reach anywhere.
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
            "roots": getattr(self.hull.features, "roots", 1),
            "hulls": [tuple(hull.prototypes.shape) for hull in hulls],
            "whitened": self.classifier.whitening.shape[1],
            "weights": self.state_dict(),
        }


def restored(saved: dict[str, Any], recipe: DensityRecipe) -> Density:
    """Return the Density, in evaluation mode, of which `saved` is what its method of that name returned."""
    features: list[Features] = [OrientedGradients(saved["roots"]), Intensities()]
    shapes = zip(features, saved["hulls"], strict=False)
    hulls = [LocalHull(kind, prototypes, components, recipe) for kind, (prototypes, components) in shapes]
    brightness = hulls[1] if len(hulls) > 1 else None
    density = Density(hulls[0], brightness, OutlierClassifier(saved["whitened"], recipe.hidden))
    density.load_state_dict(saved["weights"])
    return density.eval()


class OutlierClassifier(nn.Module):
    """Features [N, FEATURES] to [N], log P(any outlier) - log P(normal), by a network that names the kind of outlier.

    It sees the features whitened: their leading principal components, each in standard deviations of normal images.
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
    """Return log P(any outlier) - log P(normal) [...] for `logits` [..., CLASSES], of which the first is that of normal."""
    return logits[..., 1:].logsumexp(dim=-1) - logits[..., 0]


def to_light(pixels: images.Pixels) -> Tensor:
    """Return uint8 `pixels` [N, 32, 32] as light images [N, 1, 32, 32] in [0, 1]."""
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255
