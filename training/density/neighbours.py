"""How far an image is from the nearest normal ones, where bending it smoothly costs little."""

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 32
CANDIDATES = 64  # by plain distance; the nearest by tangent distance were always among them
BEND = 0.64  # pixels at the edge of the image
RIGID = math.inf
STIFFNESSES = (1e-4, 5e-4, 2.5e-3, 1.25e-2, RIGID)
BATCH = 256


class Features(Protocol):
    """A fixed layer: light images [N, 1, 32, 32] in [0, 1] to features [N, size]."""

    size: int

    def __call__(self, light: Tensor) -> Tensor:
        """Return the features of each image."""
        ...


class Deformations(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1], each a little deformed in twelve ways.

    The displacements are the monomials 1, x, y, 2 x^2, 2 x y, 2 y^2 of the position, x and y in [-1, 1], once along each
    axis and BEND px long: together they shift, stretch, turn, shear, taper and curve. To first order, a displaced image
    is the image plus displacement times slope (Simard et al., Transformation invariance in pattern recognition, 1998).
    """

    displacements: Tensor
    slopes: Tensor

    def __init__(self) -> None:
        super().__init__()
        axis = torch.linspace(1 / SIZE - 1, 1 - 1 / SIZE, SIZE)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        monomials = torch.stack([torch.ones_like(x), x, y, 2 * x * x, 2 * x * y, 2 * y * y])
        along = torch.eye(2)[:, None, :, None, None] * monomials[:, None]  # [axes, monomials, 2, S, S]
        self.register_buffer("displacements", BEND * along.flatten(0, 1))
        slope = torch.tensor([[0.0, 0.0, 0.0], [-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
        self.register_buffer("slopes", torch.stack([slope, slope.T]).unsqueeze(1))

    def forward(self, light: Tensor) -> Iterator[Tensor]:
        """Yield `light` deformed in each way, clipped to [0, 1]."""
        slopes = functional.conv2d(functional.pad(light, (1, 1, 1, 1), mode="replicate"), self.slopes)
        for displacement in self.displacements:
            yield (light + (slopes * displacement).sum(dim=1, keepdim=True)).clamp(0, 1)


class Neighbours(nn.Module):
    """Light images to their distance from the nearest normal ones: k-NN density (Loftsgaarden and Quesenberry, 1965).

    The distance is taken between features in the leading principal components, and is one-sided tangent distance (Simard
    et al., 1998): min over a of |q + T^T a - p|^2 + stiffness |a|^2, where q is the image, p a prototype, and the rows of T
    are what the Deformations change in q. With the stiffness RIGID, a is 0. The prototypes are fitted images.
    """

    mean: Tensor
    directions: Tensor
    prototypes: Tensor

    def __init__(self, features: Features, prototypes: int, components: int, neighbours: int) -> None:
        super().__init__()
        self.features = features
        self.neighbours = neighbours
        self.stiffness = RIGID
        self.deformations = Deformations()
        self.register_buffer("mean", torch.zeros(features.size))
        self.register_buffer("directions", torch.zeros(features.size, components))
        self.register_buffer("prototypes", torch.zeros(prototypes, components))

    @torch.no_grad()
    def fit(self, light: Tensor, generator: torch.Generator) -> None:
        """Take the principal components of normal images, and as many of them as there are prototypes, at random."""
        features = torch.cat([self.features(batch) for batch in light.split(BATCH)])
        self.mean.copy_(features.mean(dim=0))
        centred = features - self.mean
        _, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
        self.directions.copy_(
            directions[:, -self.directions.shape[1] :].half()
        )  # files halve what half precision holds
        chosen = torch.randperm(len(features), generator=generator)[: len(self.prototypes)]
        self.prototypes.copy_((centred[chosen] @ self.directions).half())

    @torch.no_grad()
    def fit_stiffness(self, normal: Tensor, outliers: Tensor) -> tuple[Tensor, Tensor]:
        """Choose the stiffness that tells light images `normal` from `outliers` best; return their log distances."""
        points = [self._points(light) for light in (normal, outliers)]
        distances = {
            stiffness: tuple(self._distances(*point, stiffness)[0] for point in points) for stiffness in STIFFNESSES
        }
        self.stiffness = max(STIFFNESSES, key=lambda stiffness: separation(*distances[stiffness]))
        normal_distances, outlier_distances = distances[self.stiffness]
        return normal_distances, outlier_distances

    @torch.no_grad()
    def to_nth(self, light: Tensor, n: int) -> Tensor:
        """Return the plain distance of light images to their `n`-th nearest prototype [N]."""
        parts = (torch.cdist(self._project(batch), self.prototypes) for batch in light.split(BATCH))
        return torch.cat([part.kthvalue(n, dim=1).values for part in parts])

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log mean square distance to the nearest prototypes [N], and the mean of their features [N, F]."""
        point = self._project(light)
        tangents = None if self.stiffness == RIGID else self._tangents(light, point)
        distances, nearest = self._distances(point, tangents, self.stiffness)
        return distances, self.prototypes[nearest].mean(dim=1) @ self.directions.T + self.mean

    def _project(self, light: Tensor) -> Tensor:
        projected: Tensor = (self.features(light) - self.mean) @ self.directions
        return projected

    def _tangents(self, light: Tensor, point: Tensor) -> Tensor:
        """Return [N, deformations, components]."""
        return torch.stack([self._project(deformed) - point for deformed in self.deformations(light)], dim=1)

    def _points(self, light: Tensor) -> tuple[Tensor, Tensor]:
        parts = [
            (point, self._tangents(batch, point)) for batch in light.split(BATCH) for point in [self._project(batch)]
        ]
        points, tangents = zip(*parts, strict=True)
        return torch.cat(points), torch.cat(tangents)

    def _distances(self, point: Tensor, tangents: Tensor | None, stiffness: float) -> tuple[Tensor, Tensor]:
        """Return the log mean square distance to the nearest prototypes [N], and which these are [N, neighbours]."""
        products = point @ self.prototypes.T
        plain = point.square().sum(dim=1, keepdim=True) + self.prototypes.square().sum(dim=1) - 2 * products
        candidates = plain.topk(min(CANDIDATES, len(self.prototypes)), largest=False).indices
        gaps = point[:, None] - self.prototypes[candidates]  # [N, candidates, components]
        squares = gaps.square().sum(dim=2)
        if tangents is not None and stiffness != RIGID:
            squares = squares - (gaps @ orthonormal(tangents, stiffness).mT).square().sum(dim=2)
        nearest, chosen = squares.clamp_min(0).topk(self.neighbours, largest=False)
        return (nearest.mean(dim=1) + 1e-3).log(), candidates.gather(1, chosen)


def orthonormal(rows: Tensor, penalty: float) -> Tensor:
    """Return W like `rows` T [N, R, C], with |d|^2 - |W d|^2 = min over a of |d - T^T a|^2 + penalty |a|^2 for any d [C].

    By the modified Gram-Schmidt process on [T, sqrt(penalty) I], of which W is the left part; ONNX knows no Cholesky.
    """
    images, count, size = rows.shape  # not len(), which an exported graph would hold for constant
    rest = torch.cat([rows, math.sqrt(penalty) * torch.eye(count).expand(images, count, count)], dim=2)
    basis = []
    for _ in range(count):
        row, rest = functional.normalize(rest[:, :1], dim=2), rest[:, 1:]
        basis.append(row[:, :, :size])
        rest = rest - (rest * row).sum(dim=2, keepdim=True) * row
    return torch.cat(basis, dim=1)


def separation(normal: Tensor, outliers: Tensor) -> float:
    """Return the probability that one of the scores `outliers` is above one of the scores `normal` (AUROC), in [0, 1]."""
    ranks = torch.searchsorted(normal.sort().values, outliers)
    return (ranks / len(normal)).mean().item()
