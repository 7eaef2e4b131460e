"""The GANs' objectives as small objects, each with its paper; logits are [N, 1] and high for real images."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

from training.parallel import Uniform
from training.switches import ObjectiveName

Critic = Callable[[Tensor], Tensor]


class Objective(Protocol):
    """What both networks minimise. `penalty` takes images [N, C, H, W] in [-1, 1]; it is 0 if `has_penalty` is false."""

    has_penalty: ClassVar[bool]
    compares: ClassVar[bool]
    """Whether only differences of logits mean anything, so that the generator's loss needs logits of real images."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's loss for logits of real and of generated images."""
        ...

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the generator's loss; only an objective that compares reads `real`."""
        ...

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, uniform: Uniform) -> Tensor:
        """Return the penalty on the discriminator's gradients, a scalar for its loss; `uniform` draws from [0, 1)."""
        ...


class NoPenalty:
    """An objective without a penalty on gradients."""

    has_penalty: ClassVar[bool] = False
    compares: ClassVar[bool] = False

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, uniform: Uniform) -> Tensor:
        """Return 0."""
        return real.new_zeros(())


class CrossEntropy(NoPenalty):
    """The non-saturating GAN (arXiv:1406.2661), real labels smoothed to `real_label` on one side (arXiv:1606.03498)."""

    def __init__(self, real_label: float = 1.0) -> None:
        self.real_label = real_label

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the cross entropy of real logits with `real_label`, plus the cross entropy of fake logits with 0."""
        target = torch.full_like(real, self.real_label)
        return binary_cross_entropy_with_logits(real, target) + softplus(fake).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return -log D(fake): the generator's labels are never smoothed."""
        return softplus(-fake).mean()


class Hinge(NoPenalty):
    """The hinge loss of geometric GAN (arXiv:1705.02894) as SNGAN uses it (arXiv:1802.05957, eqs. 16 and 17)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return relu(1 - D(real)) + relu(1 + D(fake))."""
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return -D(fake)."""
        return -fake.mean()


class Wasserstein:
    """The Wasserstein distance of a critic whose gradients are kept near norm 1 (arXiv:1704.00028)."""

    has_penalty: ClassVar[bool] = True
    compares: ClassVar[bool] = False

    def __init__(self, weight: float = 10.0) -> None:
        self.weight = weight

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return D(fake) - D(real)."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return -D(fake)."""
        return -fake.mean()

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, uniform: Uniform) -> Tensor:
        """Return weight * (|gradient| - 1)^2 between real and fake images, each image with its own mixing weight."""
        mixed = real.lerp(fake, uniform(len(real), 1, 1, 1))
        return self.weight * (squared_gradient_norms(critic, mixed).sqrt() - 1).square().mean()


class Relativistic:
    """The relativistic pairing loss with R1 and R2 (R3GAN, arXiv:2501.05441, eqs. 1 to 3; arXiv:1807.00734)."""

    has_penalty: ClassVar[bool] = True
    compares: ClassVar[bool] = True

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return softplus(D(fake) - D(real)) over pairs."""
        return softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return softplus(D(real) - D(fake)) over pairs."""
        return softplus(real - fake).mean()

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, uniform: Uniform) -> Tensor:
        """Return weight / 2 * (|gradient at real|^2 + |gradient at fake|^2): R1 (arXiv:1801.04406) and R2."""
        r1, r2 = (squared_gradient_norms(critic, images).mean() for images in (real, fake))
        return self.weight / 2 * (r1 + r2)


def objective(name: ObjectiveName, real_label: float, penalty_weight: float) -> Objective:
    """Return the objective called `name`; bce reads `real_label`; objectives with a penalty read `penalty_weight`."""
    if name == "bce":
        return CrossEntropy(real_label)
    if name == "hinge":
        return Hinge()
    return Wasserstein(penalty_weight) if name == "wgan-gp" else Relativistic(penalty_weight)


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of `losses` by name, of which there is at least one."""
    return torch.stack(list(losses.values())).sum()


def squared_gradient_norms(critic: Critic, images: Tensor) -> Tensor:
    """Return |d critic / d image|^2 of each image [N], with a graph so that it can itself be minimised.

    `critic` must treat every image by itself: with batch norm, gradients of several images would mix.
    """
    images = images.detach().float().requires_grad_()
    (gradients,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradients.flatten(1).square().sum(dim=1)
