"""Outliers made from normal images, so that a detector can learn what else there could be without labelled anomalies.

Every function takes `light` images [N, 1, S, S] in [0, 1], 0 being background, and returns as many outliers of the same
shape and range, on the same device, which is the generator's. The extents are in half image sides, as the coordinates of
`grid_sample` are.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

STROKE_POINTS = 10
Maker = Callable[[Tensor, torch.Generator], Tensor]


class Made(NamedTuple):
    """Outliers `light` [N, 1, S, S], the kind of each [N], an index into KINDS, and the image it was made of [N]."""

    light: Tensor
    kinds: Tensor
    sources: Tensor


def outliers(light: Tensor, generator: torch.Generator) -> Made:
    """Return one outlier of each image, all kinds evenly, in random order."""
    order = _order(len(light), generator)
    parts = light[order].tensor_split(len(KINDS))
    made = [make(part, generator).clamp(0, 1) for make, part in zip(KINDS.values(), parts, strict=True) if len(part)]
    counts = torch.tensor([len(part) for part in parts], device=light.device)
    kinds = torch.repeat_interleave(torch.arange(len(KINDS), device=light.device), counts)
    return Made(torch.cat(made), kinds, order)


def jitter(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images changed so little that they stay normal: turned by 7 degrees, scaled by 8 %, moved by 1 px at most."""
    count = len(light)
    angle = _uniform((count,), -0.12, 0.12, generator)
    scale = _normal((count, 2), generator).mul(0.05).exp()
    shear, shift = _uniform((count,), -0.1, 0.1, generator), _uniform((count, 2), -0.06, 0.06, generator)
    return _affine(light, _rotation(angle, scale, shear), shift)


def erase(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images of which an ellipse of random size, somewhere on the glyph, is missing."""
    count = len(light)
    centre = _points_on_glyph(light, 1, generator)[:, 0]
    angle, radii = _uniform((count,), 0, math.pi, generator), _uniform((count, 2), 0.12, 0.5, generator)
    offset = _grid(light) - centre[:, None, None]  # [N, S, S, 2]
    turned = offset @ _rotation(angle, light.new_ones(count, 2), light.new_zeros(count))[:, None]
    distance = (turned / radii[:, None, None]).square().sum(dim=-1)
    return light * torch.sigmoid(6 * (distance - 1)).unsqueeze(1)


def add_stroke(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images with a curved stroke more, from the glyph to another point of it or to anywhere."""
    count = len(light)
    start, on_glyph = _points_on_glyph(light, 2, generator).unbind(dim=1)
    anywhere = _uniform((count, 2), -0.65, 0.65, generator)
    end = torch.where(_uniform((count, 1), 0, 1, generator) < 0.5, on_glyph, anywhere)
    bend = (start + end) / 2 + 0.35 * _normal((count, 2), generator)
    brightness = light.amax(dim=(1, 2, 3), keepdim=True) * _uniform((count, 1, 1, 1), 0.7, 1, generator)
    width = _uniform((count, 1, 1), 0.05, 0.13, generator)
    return torch.maximum(light, brightness * _stroke(light, start, bend, end, width))


def paste(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images whose part beyond a random line comes from another image, turned and mirrored."""
    other = turn(_shuffled(light, generator), generator)
    angle, offset = (
        _uniform((len(light), 1, 1), 0, 2 * math.pi, generator),
        _uniform((len(light), 1, 1), -0.25, 0.25, generator),
    )
    x, y = _grid(light).unbind(dim=-1)
    keep = torch.sigmoid(20 * (x * angle.cos() + y * angle.sin() - offset)).unsqueeze(1)
    return light * keep + other * (1 - keep)


def turn(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images turned by any angle, half of them mirrored, and somewhat scaled."""
    count = len(light)
    angle, scale = _uniform((count,), -math.pi, math.pi, generator), _uniform((count, 2), 0.8, 1.3, generator)
    mirror = torch.sign(_uniform((count,), -1, 1, generator))
    scale = torch.stack([scale[:, 0] * mirror, scale[:, 1]], dim=1)
    return _affine(light, _rotation(angle, scale, light.new_zeros(count)), light.new_zeros(count, 2))


def warp(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images warped elastically by a smooth random field."""
    coarse = _normal((len(light), 2, 4, 4), generator)
    field = functional.interpolate(coarse, size=light.shape[-2:], mode="bicubic", align_corners=False)
    strength = 0.28 * _uniform((len(light), 1, 1, 1), 0.5, 1.2, generator)
    return _sample(light, _grid(light) + (field * strength).permute(0, 2, 3, 1))


def stretch(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images stretched or squeezed strongly along one axis, and sheared."""
    count = len(light)
    logarithm = _uniform((count, 2), 0.25, 0.7, generator) * torch.sign(_uniform((count, 2), -1, 1, generator))
    axis = functional.one_hot(torch.randint(2, (count,), generator=generator, device=generator.device), 2)
    scale = (logarithm * axis + 0.1 * _normal((count, 2), generator)).exp()
    matrix = _rotation(light.new_zeros(count), scale, _uniform((count,), -0.5, 0.5, generator))
    return _affine(light, matrix, light.new_zeros(count, 2))


def overlay(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images over which another one lies, turned, with a part of each missing."""
    other = turn(_shuffled(light, generator), generator)
    return torch.maximum(erase(light, generator), erase(other, generator))


def redraw(light: Tensor, generator: torch.Generator) -> Tensor:
    """Return images of which a part is missing and that have a stroke more."""
    return add_stroke(erase(light, generator), generator)


KINDS: dict[str, Maker] = {
    maker.__name__: maker for maker in (erase, add_stroke, paste, turn, warp, stretch, overlay, redraw)
}


def _stroke(light: Tensor, start: Tensor, bend: Tensor, end: Tensor, width: Tensor) -> Tensor:
    """Return quadratic Bezier curves [N, 1, S, S] in [0, 1], drawn as short straight pieces with soft edges."""
    t = torch.linspace(0, 1, STROKE_POINTS, device=light.device)[:, None, None]
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end  # [points, N, 2]
    grid, nearest = _grid(light), light.new_full((len(start), *light.shape[-2:]), math.inf)
    for a, b in zip(path[:-1, :, None, None], path[1:, :, None, None], strict=True):
        along = ((grid - a) * (b - a)).sum(dim=-1, keepdim=True) / (b - a).square().sum(dim=-1, keepdim=True).clamp_min(
            1e-8
        )
        nearest = torch.minimum(nearest, (grid - a - along.clamp(0, 1) * (b - a)).square().sum(dim=-1))
    return (1.4 - 0.9 * nearest.sqrt() / width).clamp(0, 1).unsqueeze(1)


def _affine(light: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    return _sample(light, _grid(light) @ matrix[:, None].mT + shift[:, None, None])


def _sample(light: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(light, grid, align_corners=False)


def _rotation(angle: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Return matrices [N, 2, 2]: scale the axes, then turn; `shear` is added to the upper right element."""
    upper = torch.stack([angle.cos() * scale[:, 0], shear - angle.sin() * scale[:, 1]], dim=1)
    lower = torch.stack([angle.sin() * scale[:, 0], angle.cos() * scale[:, 1]], dim=1)
    return torch.stack([upper, lower], dim=1)


def _grid(light: Tensor) -> Tensor:
    """Return x and y of every pixel [S, S, 2]."""
    size = light.shape[-1]
    axis = torch.linspace(1 / size - 1, 1 - 1 / size, size, device=light.device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=-1)


def _points_on_glyph(light: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return [N, count, 2] points, drawn in proportion to the light."""
    chosen = torch.multinomial(light.flatten(1) + 1e-4, count, replacement=True, generator=generator)
    return _grid(light).flatten(0, 1)[chosen]


def _shuffled(light: Tensor, generator: torch.Generator) -> Tensor:
    return light[_order(len(light), generator)]


def _order(count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator, device=generator.device)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)
