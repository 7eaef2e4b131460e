"""Features as fixed layers, without anything learned: which way strokes run and where, and how bright what is."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 32
ORIENTATIONS = 12
CELLS = (4, 8)  # pixels
FINE = 2  # pixels, a cell of intensities
DIM = 0.05  # an image with nothing brighter is dark, and not brightened
FEATURES = sum(ORIENTATIONS * (SIZE // cell) ** 2 for cell in CELLS)
SHARPNESS = 4  # exponent of the cosine, twice a square: how quickly a share falls off with the angle


class OrientedGradients(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1] to features [N, FEATURES]: a unit vector of gradients for each cell size.

    As HOG (Dalal and Triggs, 2005) with signed orientations, overlapping cells in two sizes, and the square root of
    each bin (the Hellinger map of RootSIFT, Arandjelovic and Zisserman, 2012), taken `roots` times: the more often, the more
    do faint gradients count.
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
        for cell in CELLS:
            self.register_buffer(f"cells_{cell}", _triangles(cell))

    def forward(self, light: Tensor) -> Tensor:
        """Return the features of each image."""
        gradients = functional.conv2d(light, self.sobel, padding=1)  # [N, 2, S, S]
        # clamped, since the ONNX exporter drops the addition of so small a number
        magnitude = gradients.square().sum(dim=1, keepdim=True).clamp_min(1e-8).sqrt()
        # magnitude * cosine^4, the cosine being that of the angle between gradient and direction, with few operations
        scaled = gradients * magnitude ** (1 / SHARPNESS - 1)
        shares = functional.conv2d(scaled, self.directions).clamp_min(0).square().square()  # [N, orientations, S, S]
        return torch.cat([self._pool(shares, self.get_buffer(f"cells_{cell}")) for cell in CELLS], dim=1)

    def _pool(self, shares: Tensor, cells: Tensor) -> Tensor:
        bins = (cells @ (shares @ cells.T)).flatten(1).clamp_min(1e-9)  # [N, orientations * (S / cell)^2]
        for _ in range(self.roots):
            bins = bins.sqrt()
        return functional.normalize(bins, eps=1e-3)


class Intensities(nn.Module):
    """Light images [N, 1, 32, 32] in [0, 1] to features [N, 256]: their brightness in overlapping cells of 2 pixels.

    The brightest pixel counts as 1. The squared length of the features is the mean square of the brightness.
    """

    size = (SIZE // FINE) ** 2
    cells: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cells", _triangles(FINE))

    def forward(self, light: Tensor) -> Tensor:
        """Return the features of each image."""
        brightest = light.amax(dim=(1, 2, 3), keepdim=True).clamp_min(DIM)
        means = self.cells @ (light / brightest @ self.cells.T)
        return means.flatten(1) * (FINE / SIZE)


def energy_map(features: Tensor) -> Tensor:
    """Return how much of `features` [N, FEATURES], or of a difference of two, lies around each pixel [N, 32, 32].

    Of the finest cells, each mixed with its neighbours (1-2-1 along each axis): what is wrong is larger than a cell.
    """
    cells = SIZE // CELLS[0]
    finest = features[:, : ORIENTATIONS * cells**2].unflatten(1, (ORIENTATIONS, cells, cells))
    energy = finest.square().sum(dim=1, keepdim=True)
    energy = functional.avg_pool2d(functional.avg_pool2d(energy, 2, stride=1, padding=1), 2, stride=1)
    return functional.interpolate(energy, size=(SIZE, SIZE), mode="bilinear", align_corners=False).squeeze(1)


def _triangles(cell: int) -> Tensor:
    """Return weights [S / cell, S] by which the pixels of a line fall into overlapping cells, each summing to 1."""
    centres = (torch.arange(SIZE // cell) + 0.5) * cell - 0.5
    weights = (1 - (torch.arange(SIZE) - centres[:, None]).abs() / cell).clamp_min(0)
    return weights / weights.sum(dim=1, keepdim=True)
