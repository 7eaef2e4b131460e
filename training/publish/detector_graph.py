"""The graph that is served: pixels in, reconstruction and anomaly scores out, standardised on normal images."""

import torch
from torch import Tensor, nn

from service import images
from training.autoencoder import objectives
from training.autoencoder.learner import Autoencoder
from training.data import to_images
from training.density.features import DIM
from training.density.model import Density
from training.density.neighbours import BATCH

EMPTY = 100  # standard deviations, more than any normal image is odd by
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


class DetectorGraph(nn.Module):
    """Pixels uint8 [N, 32, 32] to the reconstruction and the scores of each image on its own.

    - `reconstruction` uint8 [N, 32, 32].
    - `l_con` [N], mean |x - x_hat| in [0, 1] of the pixel range.
    - `latent` [N], root mean square over the code's dimensions of z - z_hat, each in standard deviations of held-out
      normal images: unscaled, the distance would shrink with the codes, which a shared encoder is free to do.
    - `density` [N], how unlikely the image's oriented gradients are among normal ones; see Density. It sees what
      reconstruction overlooks: a model that draws well draws other glyphs well, too.
    - `heat` uint8 [N, 32, 32], where it is unlikely.
    - `score` [N], density, plus by how many standard deviations l_con and latent exceed what is MARGIN of them above the most
      that any held-out normal image reaches: below that they say little, but none that cannot be reconstructed may pass.
      An image of one brightness all over, which shows nothing, is EMPTY odder, and less so one with a contrast below DIM.

    The statistics come from `fit_statistics`; until then l_con and latent are not standardised.
    """

    gap_mean: Tensor
    gap_deviation: Tensor
    part_limit: Tensor
    part_deviation: Tensor

    def __init__(self, autoencoder: Autoencoder, latent_size: int, density: Density) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.density = density
        self.register_buffer("gap_mean", torch.zeros(latent_size))
        self.register_buffer("gap_deviation", torch.ones(latent_size))
        self.register_buffer("part_limit", torch.zeros(2))
        self.register_buffer("part_deviation", torch.ones(2))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return reconstruction, heat, l_con, latent, density and score of `pixels`; see the class for their meaning."""
        x = to_images(pixels)
        x_hat, parts = self.reconstruct(x)
        density, heat = self.density((x + 1) / 2)
        score = self.combined(density, parts, x)
        reconstruction = ((x_hat.squeeze(1) + 1) * 127.5).round().to(torch.uint8)
        heat = (heat * 255).round().to(torch.uint8)
        return reconstruction, heat, parts[:, 0], parts[:, 1], density, score

    def combined(self, density: Tensor, parts: Tensor, x: Tensor) -> Tensor:
        """Return the score [N] of images `x`, given their `density` [N] and l_con and latent, `parts` [N, 2]."""
        excess = ((parts - self.part_limit) / self.part_deviation).clamp_min(0).sum(dim=1)
        contrast = (x.amax(dim=(1, 2, 3)) - x.amin(dim=(1, 2, 3))) / 2
        return density + excess + EMPTY * (1 - contrast / DIM).clamp_min(0)

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x_hat [N, 1, 32, 32], and l_con and latent [N, 2], of images `x` [N, 1, 32, 32] in [-1, 1]."""
        x_hat, z, z_hat = self.autoencoder(x)
        gap = ((z - z_hat).flatten(1) - self.gap_mean) / self.gap_deviation
        return x_hat, torch.stack([objectives.l_con(x, x_hat), gap.square().mean(dim=1).sqrt()], dim=1)


@torch.no_grad()
def fit_statistics(graph: DetectorGraph, held_out: images.Pixels) -> None:
    """Set the limits and deviations in `graph` from normal images `held_out` that no part was fitted on."""
    batches = [to_images(batch) for batch in torch.from_numpy(held_out).split(BATCH)]
    codes = [graph.autoencoder(batch)[1:] for batch in batches]
    gap = torch.cat([z - z_hat for z, z_hat in codes]).flatten(1)
    graph.gap_mean.copy_(gap.mean(dim=0))
    graph.gap_deviation.copy_(gap.std(dim=0).clamp_min(1e-6))
    parts = torch.cat([graph.reconstruct(batch)[1] for batch in batches])
    graph.part_deviation.copy_(parts.std(dim=0).clamp_min(1e-6))
    graph.part_limit.copy_(parts.amax(dim=0) + MARGIN * graph.part_deviation)


@torch.no_grad()
def calibration_scores(graph: DetectorGraph, pixels: images.Pixels, density: Tensor) -> Tensor:
    """Return the score [N] of normal images whose `density` [N] is by models that have not seen them.

    The autoencoder has seen nine in ten of them. Its parts count only beyond what held-out images reach, so this is a matter
    of a few images in a thousand.
    """
    batches = zip(torch.from_numpy(pixels).split(BATCH), density.split(BATCH), strict=True)
    return torch.cat([graph.combined(part, graph.reconstruct(x)[1], x) for p, part in batches for x in [to_images(p)]])
