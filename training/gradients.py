"""Oriented gradients as fixed layers: what a stroke looks like wherever it leans, without anything learned."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

ORIENTATIONS = 8
CELL = 4
GRADIENT_FEATURES = ORIENTATIONS * (32 // CELL) ** 2  # of an image of 32 x 32
SHARPNESS = 3  # exponent of the cosine: how quickly an orientation's share falls off with the angle


class OrientedGradients(nn.Module):
    """Images [N, 1, S, S] in [-1, 1] to unit vectors [N, 8 (S / 4)^2]: deskewed histograms of oriented gradients.

    As HOG (Dalal and Triggs, 2005) with signed orientations, overlapping cells and the square root of each bin (the
    Hellinger map of RootSIFT, Arandjelovic and Zisserman, 2012), after the deskewing by moments that is usual for
    MNIST (LeCun et al., 1998).
    """

    sobel: Tensor
    directions: Tensor
    pooling: Tensor

    def __init__(self) -> None:
        super().__init__()
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        angles = torch.arange(ORIENTATIONS) * (2 * math.pi / ORIENTATIONS)
        triangle = torch.cat([torch.arange(1, CELL + 1), torch.arange(CELL - 1, 0, -1)]) / CELL**2
        self.register_buffer("sobel", torch.stack([sobel, sobel.T]).unsqueeze(1))
        self.register_buffer("directions", torch.stack([angles.cos(), angles.sin()], dim=1)[:, :, None, None])
        self.register_buffer("pooling", torch.outer(triangle, triangle).expand(ORIENTATIONS, 1, -1, -1).clone())

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of each image [N, 8 (S / 4)^2]."""
        gradients = functional.conv2d(deskew((images + 1) / 2), self.sobel, padding=1)  # [N, 2, S, S]
        shares = functional.conv2d(gradients, self.directions).clamp_min(0)  # [N, 8, S, S]
        magnitude = gradients.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-6)
        shares = shares * (shares / magnitude) ** SHARPNESS
        cells = functional.conv2d(shares, self.pooling, stride=CELL, padding=CELL // 2, groups=ORIENTATIONS)
        return functional.normalize(cells.clamp_min(1e-9).sqrt().flatten(1), eps=1e-3)


def deskew(light: Tensor) -> Tensor:
    """Return `light` [N, 1, S, S] in [0, 1], moved and sheared so that its mass is centred and stands upright."""
    size = light.shape[-1]
    axis = torch.linspace(1 / size - 1, 1 - 1 / size, size)
    mass = light / light.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    x, y = axis.view(1, 1, 1, size), axis.view(1, 1, size, 1)
    centre_x, centre_y = _mean(mass * x), _mean(mass * y)
    covariance, variance = _mean(mass * (x - centre_x) * (y - centre_y)), _mean(mass * (y - centre_y) ** 2)
    shear = (covariance / variance.clamp_min(1e-4)).clamp(-1, 1)
    grid = torch.stack(torch.broadcast_tensors(x + shear * y + centre_x, y + centre_y), dim=-1).squeeze(1)
    return functional.grid_sample(light, grid, align_corners=False)


def _mean(weighted: Tensor) -> Tensor:
    return weighted.sum(dim=(1, 2, 3), keepdim=True)


class Ppca(nn.Module):
    """Feature vectors [N, F] to how unlikely they are, [N], under a Gaussian with `components` < F free directions.

    Probabilistic principal component analysis (Tipping and Bishop, 1999): the root of the Mahalanobis distance, mean
    square over the F dimensions, where all directions outside the leading ones share one variance.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    rest_variance: Tensor

    def __init__(self, features: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("directions", torch.eye(features, components))
        self.register_buffer("variances", torch.ones(components))
        self.register_buffer("rest_variance", torch.ones(()))

    def fit(self, features: Tensor) -> None:
        """Take mean, directions and variances from `features` [N, F]."""
        kept = len(self.variances)
        self.mean.copy_(features.mean(dim=0))
        _, singular, directions = torch.linalg.svd(features - self.mean, full_matrices=False)
        variances = singular.square() / len(features)
        self.directions.copy_(directions[:kept].T)
        self.variances.copy_(variances[:kept].clamp_min(1e-9))
        self.rest_variance.copy_((variances[kept:].sum() / (features.shape[1] - kept)).clamp_min(1e-9))

    def forward(self, features: Tensor) -> Tensor:
        """Return [N], about 1 for what the density was fitted on."""
        centred = features - self.mean
        leading = centred @ self.directions
        rest = (centred.square().sum(dim=1) - leading.square().sum(dim=1)).clamp_min(0) / self.rest_variance
        return (((leading.square() / self.variances).sum(dim=1) + rest) / features.shape[1]).sqrt()
