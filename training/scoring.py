"""The graph that is served: pixels in, reconstruction and anomaly scores out, standardised on normal images."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn

from service import images
from training import objectives
from training.aae import Autoencoder
from training.data import NormalSplit, to_images

BATCH = 256


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
    - `score` [N], the sum of l_con, latent and the Mahalanobis distance of z from the normal codes (Lee et al.,
      arXiv:1807.03888), each in standard deviations from its mean over held-out normal images.

    The statistics come from `fit_statistics`; until then the three parts are not standardised.
    """

    code_mean: Tensor
    code_whitening: Tensor
    gap_mean: Tensor
    gap_deviation: Tensor
    part_mean: Tensor
    part_deviation: Tensor

    def __init__(self, autoencoder: Autoencoder, latent_size: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.register_buffer("code_mean", torch.zeros(latent_size))
        self.register_buffer("code_whitening", torch.eye(latent_size))
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
        distance = (z.flatten(1) - self.code_mean) @ self.code_whitening
        parts = [objectives.l_con(x, x_hat), _root_mean_square(gap), _root_mean_square(distance)]
        return x_hat, torch.stack(parts, dim=1)


@torch.no_grad()
def fit_statistics(graph: DetectorGraph, normal: NormalSplit) -> None:
    """Set the statistics of `graph`: the code's Gaussian on the fitted images, everything else on held-out ones.

    The covariance is shrunk (Ledoit and Wolf, 2004), so it can be inverted whatever the number of images. Calibration
    images are not looked at.
    """
    codes = LedoitWolf().fit(_codes(graph, normal.fit)[0])
    graph.code_mean.copy_(torch.from_numpy(codes.location_))
    graph.code_whitening.copy_(torch.from_numpy(np.linalg.cholesky(codes.precision_)))
    z, z_hat = _codes(graph, normal.validation)
    graph.gap_mean.copy_(torch.from_numpy((z - z_hat).mean(axis=0)))
    graph.gap_deviation.copy_(torch.from_numpy((z - z_hat).std(axis=0)).clamp_min(1e-6))
    parts = torch.cat([graph.reconstruct(batch)[1] for batch in _batches(normal.validation)])
    graph.part_mean.copy_(parts.mean(dim=0))
    graph.part_deviation.copy_(parts.std(dim=0).clamp_min(1e-6))


def _codes(graph: DetectorGraph, pixels: images.Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    pairs = [graph.autoencoder(to_images(batch))[1:] for batch in _batches(pixels)]
    z, z_hat = (torch.cat(codes).flatten(1).numpy() for codes in zip(*pairs, strict=True))
    return z, z_hat


def _batches(pixels: images.Pixels) -> tuple[Tensor, ...]:
    batches: tuple[Tensor, ...] = torch.from_numpy(pixels).split(BATCH)
    return batches


def _root_mean_square(vectors: Tensor) -> Tensor:
    return vectors.square().mean(dim=1).sqrt()
