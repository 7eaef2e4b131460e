"""Encoder, Decoder and code discriminator of the autoencoders, after the DCGAN guidelines (arXiv:1511.06434)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp
from torch.distributed.nn import functional as collective

from training.parallel import world_size


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the global batch: N processes with a part each compute what one process with all would.

    Like nn.SyncBatchNorm, which works on GPUs only. Every process must hold equally many images.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` [N, C, H, W] normalised per channel, by batch statistics in training, running ones otherwise."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        x = x.float()
        count = world_size() * x.numel() // x.shape[1]
        mean = collective.all_reduce(x.sum(dim=(0, 2, 3)), ReduceOp.SUM) / count
        centred = x - mean[:, None, None]
        variance = collective.all_reduce(centred.square().sum(dim=(0, 2, 3)), ReduceOp.SUM) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        normalised: Tensor = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return normalised * self.weight[:, None, None] + self.bias[:, None, None] if self.affine else normalised

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


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


def initialise(module: nn.Module) -> None:
    """Draw convolution weights from N(0, 0.02^2), batch norm scales from N(1, 0.02^2) (arXiv:1511.06434, section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
