"""Encoder, Decoder and code discriminator of the autoencoders, after the DCGAN guidelines (arXiv:1511.06434)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from training.layers import BatchNorm2d


class Encoder(nn.Sequential):
    """Images [N, 1, 32, 32] in [-1, 1] to codes z [N, latent_size, 1, 1]: four convolutions, LeakyReLU, batch norm."""

    def __init__(self, latent_size: int, widths: Sequence[int]) -> None:
        first, second, third = widths
        super().__init__(
            nn.Conv2d(1, first, 4, 2, 1),  # [N, first, 16, 16]
            nn.LeakyReLU(0.2),
            nn.Conv2d(first, second, 4, 2, 1, bias=False),  # [N, second, 8, 8]
            BatchNorm2d(second),
            nn.LeakyReLU(0.2),
            nn.Conv2d(second, third, 4, 2, 1, bias=False),  # [N, third, 4, 4]
            BatchNorm2d(third),
            nn.LeakyReLU(0.2),
            nn.Conv2d(third, latent_size, 4),  # [N, latent_size, 1, 1]
        )


class Decoder(nn.Sequential):
    """Codes z [N, latent_size, 1, 1] to images [N, 1, 32, 32] in [-1, 1]: the encoder mirrored, ReLU, batch norm, tanh."""

    def __init__(self, latent_size: int, widths: Sequence[int]) -> None:
        first, second, third = widths
        super().__init__(
            nn.ConvTranspose2d(latent_size, third, 4, bias=False),  # [N, third, 4, 4]
            BatchNorm2d(third),
            nn.ReLU(),
            nn.ConvTranspose2d(third, second, 4, 2, 1, bias=False),  # [N, second, 8, 8]
            BatchNorm2d(second),
            nn.ReLU(),
            nn.ConvTranspose2d(second, first, 4, 2, 1, bias=False),  # [N, first, 16, 16]
            BatchNorm2d(first),
            nn.ReLU(),
            nn.ConvTranspose2d(first, 1, 4, 2, 1),  # [N, 1, 32, 32]
            nn.Tanh(),
        )


class CodeDiscriminator(nn.Sequential):
    """Codes z [N, latent_size, 1, 1] to logits [N, 1], high for draws of the prior: fully connected, LeakyReLU."""

    def __init__(self, latent_size: int, widths: Sequence[int]) -> None:
        sizes = (latent_size, *widths)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Linear(sizes[-1], 1))
