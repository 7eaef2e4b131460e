"""The graph that is served: pixels in, reconstruction and anomaly scores out, standardised on normal images."""

import torch
from torch import Tensor, nn

from service import images
from training import objectives
from training.aae import Autoencoder
from training.data import NormalSplit, to_images
from training.gradients import GRADIENT_FEATURES, OrientedGradients, Ppca

BATCH = 256
PPCA_COMPONENTS = 32


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
    - `score` [N], the sum of l_con, latent and how unlikely the image's oriented gradients are under a density of
      normal ones (PPCA), each in standard deviations from its mean over held-out normal images. The density sees what
      reconstruction overlooks: a model that draws well draws other glyphs well, too.

    The statistics come from `fit_statistics`; until then the three parts are not standardised.
    """

    gap_mean: Tensor
    gap_deviation: Tensor
    part_mean: Tensor
    part_deviation: Tensor

    def __init__(self, autoencoder: Autoencoder, latent_size: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.gradients = OrientedGradients()
        self.density = Ppca(GRADIENT_FEATURES, PPCA_COMPONENTS)
        self.register_buffer("gap_mean", torch.zeros(latent_size))
        self.register_buffer("gap_deviation", torch.ones(latent_size))
        self.register_buffer("part_mean", torch.zeros(3))
        self.register_buffer("part_deviation", torch.ones(3))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return reconstruction, l_con, latent and score of `pixels`; see the class for shapes and meaning."""
        x_hat, parts = self.reconstruct(pixels)
        score = ((parts - self.part_mean) / self.part_deviation).sum(dim=1)
        reconstruction = ((x_hat.squeeze(1) + 1) * 127.5).round().to(torch.uint8)
        return reconstruction, parts[:, 0], parts[:, 1], score

    def reconstruct(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return x_hat [N, 1, 32, 32] and the parts of the score before standardisation [N, 3]."""
        x = to_images(pixels)
        x_hat, z, z_hat = self.autoencoder(x)
        gap = ((z - z_hat).flatten(1) - self.gap_mean) / self.gap_deviation
        parts = [objectives.l_con(x, x_hat), gap.square().mean(dim=1).sqrt(), self.density(self.gradients(x))]
        return x_hat, torch.stack(parts, dim=1)


@torch.no_grad()
def fit_statistics(graph: DetectorGraph, normal: NormalSplit) -> None:
    """Set the statistics of `graph`: the density on the fitted images, everything else on held-out ones.

    Calibration images are not looked at.
    """
    graph.density.fit(torch.cat([graph.gradients(to_images(batch)) for batch in _batches(normal.fit)]))
    codes = [graph.autoencoder(to_images(batch))[1:] for batch in _batches(normal.validation)]
    gap = torch.cat([z - z_hat for z, z_hat in codes]).flatten(1)
    graph.gap_mean.copy_(gap.mean(dim=0))
    graph.gap_deviation.copy_(gap.std(dim=0).clamp_min(1e-6))
    parts = torch.cat([graph.reconstruct(batch)[1] for batch in _batches(normal.validation)])
    graph.part_mean.copy_(parts.mean(dim=0))
    graph.part_deviation.copy_(parts.std(dim=0).clamp_min(1e-6))


def _batches(pixels: images.Pixels) -> tuple[Tensor, ...]:
    batches: tuple[Tensor, ...] = torch.from_numpy(pixels).split(BATCH)
    return batches
