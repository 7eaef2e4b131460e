"""Augmentations as plain tensor arithmetic on the device; `uniform(*shape)` draws numbers from [0, 1)."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from training.layers import crop
from training.parallel import Uniform

SHIFT = 1 / 8
CUTOUT = 1 / 2


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
    down, right = (uniform(len(images), 2) * (2 * most + 1)).long().unbind(dim=1)
    return crop(pad(images, [most] * 4), down, right, side)


def _cut_out(images: Tensor, uniform: Uniform) -> Tensor:
    side = images.shape[2]
    size = int(side * CUTOUT)
    corner = (uniform(len(images), 2) * (side + 1)).long() - size // 2
    position = torch.arange(side, device=images.device)
    inside = (position >= corner[:, :, None]) & (position < corner[:, :, None] + size)  # [N, 2, side]
    hole = inside[:, 0, :, None] & inside[:, 1, None, :]
    return images.masked_fill(hole[:, None], 0.0)
