import numpy as np
import torch
from torch import Tensor, nn

from training.publish.detector_graph import DetectorGraph, fit_statistics


class Blank(nn.Module):
    """An autoencoder that reconstructs every image as background."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        code = x.mean(dim=(1, 2, 3), keepdim=True)
        return torch.full_like(x, -1), code, torch.zeros_like(code)


class Lukewarm(nn.Module):
    """A density that finds every pixel of every image equally odd."""

    def forward(self, light: Tensor) -> tuple[Tensor, Tensor]:
        return light.mean(dim=(1, 2, 3)), torch.full_like(light[:, 0], 0.25)


def square(level: int) -> np.ndarray:
    """Return one black image with a square of 9 pixels a side in `level`."""
    pixels = np.zeros((1, 32, 32), np.uint8)
    pixels[:, 10:19, 10:19] = level
    return pixels


def test_heat_is_the_larger_of_two_maps_and_differences_as_large_as_normal_ones_have_0_5():
    graph = DetectorGraph(Blank(), 1, Lukewarm()).eval()
    fit_statistics(graph, np.concatenate([square(level) for level in (20, 40, 60, 60)]))
    heat = {level: graph(torch.from_numpy(square(level)))[1].numpy()[0] for level in (60, 180)}
    assert (heat[60][14, 14], heat[180][14, 14]) == (128, round(255 * 180 / (180 + 60)))
    assert {int(one[0, 0]) for one in heat.values()} == {round(255 * 0.25)}
    assert np.all(heat[180] >= heat[60])
