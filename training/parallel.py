"""Data-parallel training without wrappers: every process draws the same global batch and works on its own part."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, distributed, nn

Uniform = Callable[..., Tensor]
"""A function such as `Noise.uniform`: given a shape, it returns draws from [0, 1)."""


def world_size() -> int:
    """Return the number of processes that train together; 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def own_part(batch: Tensor) -> Tensor:
    """Return this process's part of a global `batch` [N, ...], [N / world_size, ...]."""
    return batch[rank() :: world_size()]


@torch.no_grad()
def whole(part: Tensor) -> Tensor:
    """Return the global batch of which `own_part` gave every process its `part` [N / world_size, ...]."""
    if world_size() == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(world_size())]
    distributed.all_gather(parts, part.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes, in one exchange."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient) / world_size())


@torch.no_grad()
def average(value: Tensor) -> Tensor:
    """Return the mean of `value` over all processes."""
    if world_size() > 1:
        value = value.clone()
        distributed.all_reduce(value)
    return value / world_size()


class Noise:
    """Random numbers for a global batch. Each process gets its part; the whole does not depend on how many there are."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)

    def normal(self, count: int, *shape: int) -> Tensor:
        """Return draws of N(0, 1) [count, *shape]."""
        return own_part(torch.randn((count * world_size(), *shape), generator=self.generator, device=self._device))

    def uniform(self, count: int, *shape: int) -> Tensor:
        """Return draws from [0, 1) [count, *shape]."""
        return own_part(torch.rand((count * world_size(), *shape), generator=self.generator, device=self._device))

    def integers(self, count: int, highest: int) -> Tensor:
        """Return draws from 0 to `highest`, both included, int64 [count]."""
        shape = (count * world_size(),)
        return own_part(torch.randint(highest + 1, shape, generator=self.generator, device=self._device))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the generator's state."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor] | Tensor) -> None:
        """Continue from what `state_dict` returned, or from the bare tensor that older checkpoints hold."""
        self.generator.set_state((state if isinstance(state, Tensor) else state["generator"]).cpu())

    @property
    def _device(self) -> torch.device:
        return self.generator.device
