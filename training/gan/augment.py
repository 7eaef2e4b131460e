"""Augmentations on the device as plain tensor arithmetic; `uniform(*shape)` draws numbers from [0, 1)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

Uniform = Callable[..., Tensor]

SHIFT = 1 / 8
CUTOUT = 1 / 2


def flip(images: Tensor, uniform: Uniform) -> Tensor:
    """Return `images` [N, C, H, W], about half of them mirrored left to right."""
    return torch.where(uniform(len(images), 1, 1, 1) < 0.5, images, images.flip(3))


def diff_augment(images: Tensor, uniform: Uniform) -> Tensor:
    """Return `images` [N, C, H, W] with random colour, shift and cutout, differentiably (DiffAugment, arXiv:2006.10738)."""
    return _cut_out(_shift(_recolour(images, uniform), uniform), uniform)


def _recolour(images: Tensor, uniform: Uniform) -> Tensor:
    brightness, saturation, contrast = uniform(len(images), 3, 1, 1).split(1, dim=1)
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * 2 * saturation
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    recoloured: Tensor = mean + (images - mean) * (contrast + 0.5)
    return recoloured


def _shift(images: Tensor, uniform: Uniform) -> Tensor:
    side = images.shape[2]
    most = int(side * SHIFT)
    rows, columns = _window(uniform(len(images), 2), 2 * most + 1, side)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    shifted = pad(images, [most] * 4).permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return shifted.permute(0, 3, 1, 2)


def _cut_out(images: Tensor, uniform: Uniform) -> Tensor:
    side = images.shape[2]
    size = int(side * CUTOUT)
    corner = (uniform(len(images), 2) * (side + 1)).long() - size // 2
    position = torch.arange(side, device=images.device)
    inside = (position >= corner[:, :, None]) & (position < corner[:, :, None] + size)  # [N, 2, side]
    hole = inside[:, 0, :, None] & inside[:, 1, None, :]
    return images.masked_fill(hole[:, None], 0.0)


def _window(uniform: Tensor, starts: int, side: int) -> tuple[Tensor, Tensor]:
    start = (uniform * starts).long()
    positions = start[:, :, None] + torch.arange(side, device=uniform.device)  # [N, 2, side]
    return positions[:, 0], positions[:, 1]
