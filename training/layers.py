"""What the networks of several families share: batch norm over all processes, first weights, crops and mirror images."""

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp
from torch.distributed.nn import functional as collective

from training.parallel import Uniform, world_size

EVALUATION_BATCH = 500
"""Images judged at once in a validation."""


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the global batch: several processes compute together what one process would.

    nn.SyncBatchNorm does the same on GPUs only. Every process must hold equally many images.
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


def initialise(module: nn.Module) -> None:
    """Draw convolution weights from N(0, 0.02^2), batch norm scales from N(1, 0.02^2) (arXiv:1511.06434, section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)


def flip(images: Tensor, uniform: Uniform) -> Tensor:
    """Return `images` [N, C, H, W], about half of them mirrored left to right."""
    return torch.where(uniform(len(images), 1, 1, 1) < 0.5, images, images.flip(3))


def crop(images: Tensor, down: Tensor, right: Tensor, side: int, mirrored: Tensor | None = None) -> Tensor:
    """Return squares [N, C, side, side] cut from `images` [N, C, H, W], in channels-last order.

    The square of each image begins at (`down`, `right`), int64 [N], and is mirrored left to right where `mirrored`, bool [N].
    """
    along = torch.arange(side, device=images.device)
    columns = along if mirrored is None else torch.where(mirrored[:, None], along.flip(0), along)
    rows, columns = along + down[:, None], columns + right[:, None]  # [N, side]
    image = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
