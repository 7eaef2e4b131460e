"""The distance of an image to the hull of its nearest normal images, with a low price for bending the image."""

import math

import torch
from torch import Tensor, nn

from training.density.features import Intensities, OrientedGradients
from training.families import Distance

BATCH = 256
Features = OrientedGradients | Intensities

EXCLUDED = 1e9  # a distance that no image has
TINY = 1e-20
STEPS = 8  # of conjugate gradients; more change the third digit of AUROC at most


class LocalHull(nn.Module):
    """Light images to their distance from the hull of the nearest normal ones (after Vincent and Bengio, NIPS 2001).

    The distance is taken between features in the leading principal components:

        min over a, b of |q - m - V^T a - T^T b|^2 + ridge |a|^2 + stiffness |b|^2

    q is the image, m the mean of its `neighbours` nearest prototypes p_k, and V has the rows p_k - m. T has the changes of q
    by the deformations of `features.deformed`. So neighbours may be mixed a little, and the image may be bent a little
    (tangent distance, Simard et al., 1998). Prototypes are normal images; each belongs to a group, such as its writer.
    """

    mean: Tensor
    directions: Tensor
    prototypes: Tensor

    def __init__(self, features: Features, prototypes: int, components: int, distance: Distance) -> None:
        super().__init__()
        self.features = features
        self.distance = distance
        self.neighbours = min(distance.hull, prototypes)
        self.ridge, self.stiffness = distance.ridge, distance.stiffness
        self.register_buffer("mean", torch.zeros(features.size))
        self.register_buffer("directions", torch.zeros(features.size, components))
        self.register_buffer("prototypes", torch.zeros(prototypes, components))
        self.register_buffer("groups", torch.zeros(prototypes, dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def fit(self, light: Tensor, groups: Tensor, more: Tensor, generator: torch.Generator) -> None:
        """Take the principal components of the normal images `light`, and a random choice of them as prototypes.

        `groups` [N] are the groups of `light`. Images `more` count for the components only.
        """
        features = features_of(self.features, light)
        self.mean, self.directions = principal_components(
            torch.cat([features, features_of(self.features, more)]), self.directions.shape[1]
        )
        chosen = torch.randperm(len(features), generator=generator)[: len(self.prototypes)]
        self.prototypes.copy_(((features[chosen] - self.mean) @ self.directions).half())  # as files store them
        self.groups = groups[chosen].to(self.mean.device)

    @torch.no_grad()
    def leave_group_out(self, queries: "Queries") -> Tensor:
        """Return the log distance of each image [N] from the images of other groups than its own."""
        return self.between(self.place(queries.light), queries.groups)

    def unexplained(self, queries: "Queries") -> float:
        """Return the share of the variance of images that those of other groups leave unexplained."""
        return (self.leave_group_out(queries).exp().mean() / self.prototypes.square().sum(dim=1).mean()).item()

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log squared distance [N], and the features of the nearest point of the hull [N, F]."""
        return self.of(self.features.deformed(light))

    def of(self, deformed: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the same for the output of `features.deformed`, without prototypes of the groups `own` [N], if given."""
        distance, nearest = self._distance(self._projected(deformed), own)
        return distance, nearest @ self.directions.T + self.mean

    @torch.no_grad()
    def place(self, light: Tensor) -> Tensor:
        """Return images and their changes by each deformation, in principal components [N, 1 + DEFORMATIONS, C]."""
        batches = light.split(BATCH)
        return torch.cat([self._projected(self.features.deformed(batch.to(self.mean.device))) for batch in batches])

    def _projected(self, deformed: Tensor) -> Tensor:
        points = (deformed - self.mean) @ self.directions
        return torch.cat([points[:, :1], points[:, 1:] - points[:, :1]], dim=1)

    @torch.no_grad()
    def between(self, points: Tensor, groups: Tensor) -> Tensor:
        """Return the log distance of each image [N], placed as `place` does it, from the images of other groups than its own."""
        parts = zip(points.split(BATCH), groups.split(BATCH), strict=True)
        return torch.cat([self._distance(part, own)[0] for part, own in parts])

    def _distance(self, points: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor]:
        point, tangents = points[:, 0], points[:, 1:]
        plain = (
            self.prototypes.square().sum(dim=1) - 2 * point @ self.prototypes.T
        )  # less |point|^2, which orders nothing
        if own is not None:
            plain = plain.masked_fill(own.to(plain.device)[:, None] == self.groups, EXCLUDED)
        found = plain.topk(self.neighbours, largest=False)
        nearest = self.prototypes[found.indices]  # [N, K, C]
        if own is not None:  # too few images are of other groups: repeat the nearest
            nearest = torch.where(found.values[:, :, None] == EXCLUDED, nearest[:, :1], nearest)
        middle = nearest.mean(dim=1)
        mixtures, bends = (nearest - middle[:, None]) / math.sqrt(self.ridge), tangents / math.sqrt(self.stiffness)
        spans = torch.cat([mixtures, bends], dim=1)
        weights, square = ridge_regression(spans, point - middle)
        hull = (weights[:, None, : self.neighbours] @ mixtures).squeeze(1)
        return (square.clamp_min(0) + 1e-3).log(), middle + hull


class Queries:
    """Light images [N, 1, S, S] with the group of each [N]."""

    def __init__(self, light: Tensor, groups: Tensor) -> None:
        self.light, self.groups = light, groups

    def __len__(self) -> int:
        return len(self.light)

    def __getitem__(self, chosen: Tensor | slice) -> "Queries":
        return Queries(self.light[chosen], self.groups[chosen])


def ridge_regression(rows: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return x [N, R] that minimises |target - rows^T x|^2 + |x|^2 for `rows` [N, R, C], `target` [N, C], and the minimum [N].

    It takes STEPS steps of conjugate gradients with Jacobi's preconditioner (Hestenes and Stiefel, 1952), since ONNX has no
    Cholesky factorisation. Each direction is made conjugate to all earlier ones, so that rounding does not decide it.
    """
    gram, rest = rows @ rows.mT, (rows @ target[:, :, None]).squeeze(2)
    scale = 1 / (rows.square().sum(dim=2) + 1)
    weights = torch.zeros_like(rest)
    directions: list[Tensor] = []
    images: list[Tensor] = []  # of the directions by the matrix, divided by their power
    for _ in range(STEPS):
        direction = rest * scale
        if directions:
            overlaps = torch.stack(images, dim=1) @ direction[:, :, None]  # [N, steps, 1]
            direction = direction - (overlaps.mT @ torch.stack(directions, dim=1)).squeeze(1)
        image = (gram @ direction[:, :, None]).squeeze(2) + direction
        power = (direction * image).sum(dim=1, keepdim=True) + TINY
        step = (direction * rest).sum(dim=1, keepdim=True) / power
        weights, rest = weights + step * direction, rest - step * image
        directions.append(direction)
        images.append(image / power)
    left = target - (weights[:, None] @ rows).squeeze(1)
    return weights, left.square().sum(dim=1) + weights.square().sum(dim=1)


def principal_components(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean [F] of `features` [N, F] and their `count` leading components [F, count], the largest first.

    Both are rounded to float16, as files store them.
    """
    mean = features.mean(dim=0).half().float()
    centred = features - mean
    _, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
    return mean, directions[:, -count:].flip(1).half().float()


@torch.no_grad()
def features_of(features: Features, light: Tensor) -> Tensor:
    """Return the features of many images [N, F], on the device of the layer `features`."""
    device = next(features.buffers()).device
    return torch.cat([features(batch.to(device)) for batch in light.split(BATCH)])


def separation(normal: Tensor, outliers: Tensor) -> float:
    """Return the AUROC of scores: how often one of `outliers` is above one of `normal`, ties counting half; in [0, 1]."""
    ordered = normal.sort().values
    ranks = torch.searchsorted(ordered, outliers) + torch.searchsorted(ordered, outliers, right=True)
    return (ranks / (2 * len(normal))).mean().item()
