"""Losses as small functions, each with its source; images are [N, C, H, W] in [-1, 1], codes [N, K, 1, 1]."""

from torch import Tensor

from training.gan.objectives import CrossEntropy


def l_con(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Return the contextual error of each image [N]: mean |x - x_hat| in pixel range [0, 1] (arXiv:1805.06725, eq. 2).

    The pixel range is half as wide as [-1, 1], hence the division by 2.
    """
    return (images - reconstructions).abs().flatten(1).mean(dim=1) / 2


def latent(z: Tensor, z_hat: Tensor) -> Tensor:
    """Return the squared code distance of each image [N]: mean (z - z_hat)^2 (arXiv:1805.06725, eq. 3)."""
    return (z - z_hat).square().flatten(1).mean(dim=1)


def adversarial_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the discriminator's loss for logits [N, 1]: -log D(real) - log(1 - D(fake)), halved (arXiv:1406.2661)."""
    return CrossEntropy().discriminator(real_logits, fake_logits) / 2


def adversarial_generator(fake_logits: Tensor) -> Tensor:
    """Return the non-saturating loss -log D(fake) for logits [N, 1] (arXiv:1406.2661, section 3)."""
    return CrossEntropy().generator(fake_logits, fake_logits)
