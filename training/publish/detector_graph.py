"""The graph that is served: pixels in, reconstruction and anomaly scores out, standardised on normal images."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from service import images
from training.autoencoder import objectives
from training.autoencoder.learner import Autoencoder
from training.data import to_images
from training.density.features import DIM
from training.density.fitting import Fitted
from training.density.model import Density
from training.density.neighbours import BATCH
from training.export import round_to_half
from training.recipes import AutoencoderRecipe, DetectorRecipe

EMPTY = 100  # standard deviations, more than any normal image is odd by
NEIGHBOURHOOD = 5  # pixels a side; differences in single pixels are chance
USUAL = 0.95  # with 0.99, as for gradients, noise in a garment stays hidden behind the heat of gradients
MARGIN = 2  # standard deviations; without it a few normal images in a thousand are held against the autoencoder


class EncoderGraph(nn.Module):
    """Pixels uint8 [N, 32, 32] to codes z, float [N, latent_size]."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.encoder = autoencoder.encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """Return z [N, latent_size] for uint8 `pixels` [N, 32, 32]."""
        z: Tensor = self.encoder(to_images(pixels)).flatten(1)
        return z


class VerdictGraph(nn.Module):
    """Pixels uint8 [N, 32, 32] to what a density alone says of each image on its own.

    - `heat` uint8 [N, 32, 32], where the image is unlikely.
    - `density` [N], how unlikely the image is among normal ones; see Density.
    - `score` [N], the density. An image of one brightness all over, which shows nothing, gets EMPTY on top, and an image
      with a contrast below DIM a part of it.
    """

    OUTPUTS: tuple[str, ...] = ("heat", "density", "score")

    def __init__(self, density: Density) -> None:
        super().__init__()
        self.density = density

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the OUTPUTS for `pixels`; see the class for their meaning."""
        x = to_images(pixels)
        density, heat = self.density((x + 1) / 2)
        return to_bytes(heat), density, density + emptiness(x)

    def scored(self, x: Tensor, density: Tensor) -> Tensor:
        """Return the score [N] of images `x` [N, 1, 32, 32] in [-1, 1], given their `density` [N]."""
        return density + emptiness(x)


class DetectorGraph(VerdictGraph):
    """Pixels uint8 [N, 32, 32] to the reconstruction and the scores of each image on its own.

    - `reconstruction` uint8 [N, 32, 32].
    - `l_con` [N], mean |x - x_hat| in [0, 1] of the pixel range.
    - `latent` [N], root mean square over the code's dimensions of z - z_hat, each in standard deviations of held-out
      normal images: unscaled, the distance would shrink with the codes, which a shared encoder is free to do.
    - `density` [N], as in VerdictGraph. It sees what reconstruction overlooks: an autoencoder that draws well also draws
      other glyphs well.
    - `heat` uint8 [N, 32, 32], the larger of two maps: the heat of VerdictGraph, and where the image differs from its
      reconstruction, which finds noise and texture. In the second map a share USUAL of normal images stays below 0.5.
    - `score` [N], as in VerdictGraph, plus the number of standard deviations by which l_con and latent exceed a limit:
      MARGIN standard deviations above the largest value of held-out normal images. Below the limit they say little.

    The statistics come from `fit_statistics`; until then l_con and latent are not standardised.
    """

    OUTPUTS = ("reconstruction", "heat", "l_con", "latent", "density", "score")

    gap_mean: Tensor
    gap_deviation: Tensor
    part_limit: Tensor
    part_deviation: Tensor
    usual_difference: Tensor

    def __init__(self, autoencoder: Autoencoder, latent_size: int, density: Density) -> None:
        super().__init__(density)
        self.autoencoder = autoencoder
        self.register_buffer("gap_mean", torch.zeros(latent_size))
        self.register_buffer("gap_deviation", torch.ones(latent_size))
        self.register_buffer("part_limit", torch.zeros(2))
        self.register_buffer("part_deviation", torch.ones(2))
        self.register_buffer("usual_difference", torch.ones(()))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the OUTPUTS for `pixels`; see the class for their meaning."""
        x = to_images(pixels)
        x_hat, parts = self.reconstruct(x)
        density, heat = self.density((x + 1) / 2)
        differing = difference(x, x_hat)
        heat = torch.maximum(heat, differing / (differing + self.usual_difference))
        score = density + emptiness(x) + self.excess(parts)
        return to_bytes((x_hat.squeeze(1) + 1) / 2), to_bytes(heat), parts[:, 0], parts[:, 1], density, score

    def scored(self, x: Tensor, density: Tensor) -> Tensor:
        """Return the score [N] of images `x` [N, 1, 32, 32] in [-1, 1], given their `density` [N]."""
        return super().scored(x, density) + self.excess(self.reconstruct(x)[1])

    def excess(self, parts: Tensor) -> Tensor:
        """Return the standard deviations [N] by which l_con and latent, `parts` [N, 2], exceed their limits, summed."""
        return ((parts - self.part_limit) / self.part_deviation).clamp_min(0).sum(dim=1)

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x_hat [N, 1, 32, 32], and l_con and latent [N, 2], of images `x` [N, 1, 32, 32] in [-1, 1]."""
        x_hat, z, z_hat = self.autoencoder(x)
        gap = ((z - z_hat).flatten(1) - self.gap_mean) / self.gap_deviation
        return x_hat, torch.stack([objectives.l_con(x, x_hat), gap.square().mean(dim=1).sqrt()], dim=1)


def difference(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return |x - x_hat| in [0, 1] of the pixel range, its mean over squares of NEIGHBOURHOOD pixels [N, S, S]."""
    return functional.avg_pool2d((x - x_hat).abs() / 2, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2).squeeze(1)


def to_bytes(values: Tensor) -> Tensor:
    """Return `values` in [0, 1] as uint8 of the same shape."""
    return (values * 255).round().to(torch.uint8)


def emptiness(x: Tensor) -> Tensor:
    """Return what is added to the scores [N] of images `x` [N, 1, S, S] that show next to nothing, at most EMPTY."""
    contrast = (x.amax(dim=(1, 2, 3)) - x.amin(dim=(1, 2, 3))) / 2
    return EMPTY * (1 - contrast / DIM).clamp_min(0)


def graph_of(
    recipe: DetectorRecipe, weights: dict[str, Any], fitted: Fitted, held_out: images.Pixels
) -> VerdictGraph | DetectorGraph:
    """Return the graph of a detector, in evaluation mode, of what `fit` left.

    `weights` are the autoencoder's, none if the recipe has no autoencoder. `held_out` are normal images that it has not seen.
    """
    if not isinstance(recipe, AutoencoderRecipe):
        return VerdictGraph(fitted.density).eval()
    autoencoder = Autoencoder(recipe.latent_size, recipe.widths)
    autoencoder.load_state_dict(weights)
    round_to_half(autoencoder)
    graph = DetectorGraph(autoencoder, recipe.latent_size, fitted.density).eval()
    fit_statistics(graph, held_out)
    return graph


@torch.no_grad()
def fit_statistics(graph: DetectorGraph, held_out: images.Pixels) -> None:
    """Set the limits and deviations in `graph` from normal images `held_out` that no part was fitted on."""
    batches = [to_images(batch) for batch in torch.from_numpy(held_out).split(BATCH)]
    outputs = [graph.autoencoder(batch) for batch in batches]
    differing = [difference(x, x_hat).amax(dim=(1, 2)) for x, (x_hat, _, _) in zip(batches, outputs, strict=True)]
    graph.usual_difference.copy_(torch.cat(differing).quantile(USUAL).clamp_min(1e-6))
    gap = torch.cat([z - z_hat for _, z, z_hat in outputs]).flatten(1)
    graph.gap_mean.copy_(gap.mean(dim=0))
    graph.gap_deviation.copy_(gap.std(dim=0).clamp_min(1e-6))
    parts = torch.cat([graph.reconstruct(batch)[1] for batch in batches])
    graph.part_deviation.copy_(parts.std(dim=0).clamp_min(1e-6))
    graph.part_limit.copy_(parts.amax(dim=0) + MARGIN * graph.part_deviation)


@torch.no_grad()
def calibration_scores(graph: VerdictGraph, pixels: images.Pixels, density: Tensor) -> Tensor:
    """Return the score [N] of normal images whose `density` [N] is by models that have not seen them.

    An autoencoder has seen nine in ten of them. Its parts count only beyond what held-out images reach, so this is a matter
    of a few images in a thousand.
    """
    batches = zip(torch.from_numpy(pixels).split(BATCH), density.split(BATCH), strict=True)
    return torch.cat([graph.scored(to_images(batch), part) for batch, part in batches])
