"""Features as fixed layers without learned weights: the directions of strokes by place, and the brightness by place.

Maps of an image are pooled into overlapping cells. The same maps give the change of the features under a small
deformation of the image. To first order a deformation moves the maps along the displacement (Simard et al.,
Transformation invariance in pattern recognition, 1998). So the change is the same pooling with other weights.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.switches import IMAGE_SIZE

ORIENTATIONS = 12
CELLS = (4, 8)  # pixels
FINE = 2  # pixels, a cell of intensities
DIM = 0.05  # an image without brighter pixels is dark, and is not brightened
FEATURES = sum(ORIENTATIONS * (IMAGE_SIZE // cell) ** 2 for cell in CELLS)
SHARPNESS = 4  # exponent of the cosine, twice a square: how quickly a share falls off with the angle
BEND = 0.64  # pixels at the edge of the image
# Displacements are x^a y^b, twice that for squares and products, along either axis: [a, b, factor] for each monomial.
# Together they shift, stretch, turn, shear, taper and curve.
MONOMIALS = ((0, 0, 1.0), (1, 0, 1.0), (0, 1, 1.0), (2, 0, 2.0), (1, 1, 2.0), (0, 2, 2.0))
DEFORMATIONS = 2 * len(MONOMIALS)


class Pooling(nn.Module):
    """Maps [N, O, S, S] to sums over overlapping cells of `cell` pixels, and to their change when the image is deformed.

    A cell sums the map by weights R along each axis. If a deformation moves the map by BEND x^a y^b along x, the map
    changes by this displacement times its slope. With the central difference G, the sum changes by
    BEND (R y^b) map (G^T x^a R^T): the same products with other weights.
    """

    lines: Tensor

    def __init__(self, cell: int) -> None:
        super().__init__()
        axis = torch.linspace(1 / IMAGE_SIZE - 1, 1 - 1 / IMAGE_SIZE, IMAGE_SIZE)
        powers = [_triangles(cell) * axis**power for power in range(3)]
        self.cells = IMAGE_SIZE // cell
        self.register_buffer("lines", torch.cat([*powers, *(power @ _slope() for power in powers)]))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the sums [N, O * cells^2]."""
        lines = self.lines[: self.cells]
        return (lines @ (maps @ lines.T)).flatten(1)

    def deformed(self, maps: Tensor) -> Tensor:
        """Return the sums, and the sums after each deformation [N, 1 + DEFORMATIONS, O * cells^2]."""
        products = self.lines @ (maps @ self.lines.T)  # [N, O, 6 cells, 6 cells]: weights along y, along x
        still = self._block(products, 0, 0)
        along_x = [still + BEND * factor * self._block(products, b, 3 + a) for a, b, factor in MONOMIALS]
        along_y = [still + BEND * factor * self._block(products, 3 + b, a) for a, b, factor in MONOMIALS]
        return torch.stack([still, *along_x, *along_y], dim=1)

    def _block(self, products: Tensor, row: int, column: int) -> Tensor:
        rows = slice(row * self.cells, (row + 1) * self.cells)
        return products[:, :, rows, column * self.cells : (column + 1) * self.cells].flatten(1)


class OrientedGradients(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1] to features [N, FEATURES]: a unit vector of gradients for each cell size.

    The features are HOG (Dalal and Triggs, 2005) with signed orientations and overlapping cells in two sizes. The square
    root of each bin (the Hellinger map of RootSIFT, Arandjelovic and Zisserman, 2012) is taken `roots` times. With more
    roots, faint gradients count more.
    """

    size = FEATURES
    sobel: Tensor
    directions: Tensor

    def __init__(self, roots: int = 1) -> None:
        super().__init__()
        self.roots = roots
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        angles = torch.arange(ORIENTATIONS) * (2 * math.pi / ORIENTATIONS)
        self.register_buffer("sobel", torch.stack([sobel, sobel.T]).unsqueeze(1))
        self.register_buffer("directions", torch.stack([angles.cos(), angles.sin()], dim=1)[:, :, None, None])
        self.poolings = nn.ModuleList(Pooling(cell) for cell in CELLS)

    def forward(self, light: Tensor) -> Tensor:
        """Return the features of each image."""
        shares = self._shares(light)
        return torch.cat([self._normalised(pooling(shares)) for pooling in self._poolings()], dim=-1)

    def deformed(self, light: Tensor) -> Tensor:
        """Return the features of each image, and of the image deformed in DEFORMATIONS ways [N, 1 + DEFORMATIONS, FEATURES]."""
        shares = self._shares(light)
        return torch.cat([self._normalised(pooling.deformed(shares)) for pooling in self._poolings()], dim=-1)

    def _poolings(self) -> Sequence[Pooling]:
        return [pooling for pooling in self.poolings if isinstance(pooling, Pooling)]

    def _shares(self, light: Tensor) -> Tensor:
        """Return the amount of gradient in each direction [N, ORIENTATIONS, S, S]."""
        gradients = functional.conv2d(light, self.sobel, padding=1)  # [N, 2, S, S]
        # clamped: the ONNX exporter drops the addition of so small a number
        magnitude = gradients.square().sum(dim=1, keepdim=True).clamp_min(1e-8).sqrt()
        # magnitude * cosine^4 of the angle between gradient and direction, with few operations; x^(-3/4) by roots, since
        # powers are slow
        scaled = gradients / (magnitude.sqrt() * magnitude.sqrt().sqrt())
        return functional.conv2d(scaled, self.directions).clamp_min(0).square().square()

    def _normalised(self, bins: Tensor) -> Tensor:
        bins = bins.clamp_min(1e-9)
        for _ in range(self.roots):
            bins = bins.sqrt()
        return functional.normalize(bins, dim=-1, eps=1e-3)


class Intensities(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1] to features [N, 256]: their brightness in overlapping cells of 2 pixels.

    The brightest pixel counts as 1. The squared length of the features is the mean square of the brightness.
    """

    size = (IMAGE_SIZE // FINE) ** 2

    def __init__(self) -> None:
        super().__init__()
        self.pooling = Pooling(FINE)

    def forward(self, light: Tensor) -> Tensor:
        """Return the features of each image."""
        means: Tensor = self.pooling(_brightened(light))
        return means * (FINE / IMAGE_SIZE)

    def deformed(self, light: Tensor) -> Tensor:
        """Return the features of each image, and of the image deformed in DEFORMATIONS ways [N, 1 + DEFORMATIONS, size]."""
        return self.pooling.deformed(_brightened(light)) * (FINE / IMAGE_SIZE)


def energy_map(features: Tensor) -> Tensor:
    """Return how much of `features` [N, FEATURES], or of a difference of features, lies around each pixel [N, 32, 32].

    Only the finest cells count. Each is smoothed with its neighbours (1-2-1 along each axis), since damage is larger
    than a cell.
    """
    cells = IMAGE_SIZE // CELLS[0]
    finest = features[:, : ORIENTATIONS * cells**2].unflatten(1, (ORIENTATIONS, cells, cells))
    energy = finest.square().sum(dim=1, keepdim=True)
    energy = functional.avg_pool2d(functional.avg_pool2d(energy, 2, stride=1, padding=1), 2, stride=1)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return functional.interpolate(energy, size=size, mode="bilinear", align_corners=False).squeeze(1)


def _brightened(light: Tensor) -> Tensor:
    return light / light.amax(dim=(1, 2, 3), keepdim=True).clamp_min(DIM)


def _triangles(cell: int) -> Tensor:
    """Return weights [S / cell, S] by which the pixels of a line fall into overlapping cells, each summing to 1."""
    centres = (torch.arange(IMAGE_SIZE // cell) + 0.5) * cell - 0.5
    weights = (1 - (torch.arange(IMAGE_SIZE) - centres[:, None]).abs() / cell).clamp_min(0)
    return weights / weights.sum(dim=1, keepdim=True)


def _slope() -> Tensor:
    """Return the central difference G [S, S], with (G f)(i) = (f(i + 1) - f(i - 1)) / 2 and the edges repeated."""
    identity = torch.eye(IMAGE_SIZE)
    after, before = torch.cat([identity[1:], identity[-1:]]), torch.cat([identity[:1], identity[:-1]])
    return (after - before) / 2
