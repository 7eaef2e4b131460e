import math

import pytest
import torch
from torch import Tensor

from training.gan.objectives import (
    CrossEntropy,
    Hinge,
    Relativistic,
    Wasserstein,
    objective,
    squared_gradient_norms,
)

REAL, FAKE = torch.tensor([[2.0], [0.5]]), torch.tensor([[-3.0], [0.25]])
LOG2 = math.log(2)


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def linear_critic(images: Tensor) -> Tensor:
    """3 times the first pixel minus 4 times the second: its gradient has norm 5 everywhere."""
    flat = images.flatten(1)
    return 3 * flat[:, :1] - 4 * flat[:, 1:2]


def quadratic_critic(images: Tensor) -> Tensor:
    """Half the squared length: its gradient is the image itself."""
    return images.flatten(1).square().sum(dim=1, keepdim=True) / 2


def test_an_undecided_discriminator_costs_two_log_2_and_the_generator_log_2():
    zero = torch.zeros(5, 1)
    assert CrossEntropy().discriminator(zero, zero).item() == pytest.approx(2 * LOG2)
    assert CrossEntropy().generator(zero, zero).item() == pytest.approx(LOG2)


def test_smoothed_labels_have_their_optimum_at_the_label_and_leave_fakes_and_generator_alone():
    smooth, plain, none = CrossEntropy(0.9), CrossEntropy(), torch.full((1, 1), -100.0)
    logits = torch.linspace(-5, 5, 2001)[:, None]
    losses = torch.stack([smooth.discriminator(logit[None], none) for logit in logits])
    assert torch.sigmoid(logits[losses.argmin()]).item() == pytest.approx(0.9, abs=1e-3)
    real = torch.full((1, 1), 100.0)
    assert (smooth.discriminator(real, FAKE) - smooth.discriminator(real, FAKE + 1)).item() == pytest.approx(
        (plain.discriminator(real, FAKE) - plain.discriminator(real, FAKE + 1)).item(), rel=1e-5
    )
    assert smooth.generator(FAKE, REAL) == plain.generator(FAKE, REAL)


def test_hinge_counts_only_what_is_inside_the_margin():
    assert Hinge().discriminator(REAL, FAKE).item() == pytest.approx((0 + 0.5) / 2 + (0 + 1.25) / 2)
    assert Hinge().generator(FAKE, REAL).item() == pytest.approx((3 - 0.25) / 2)


def test_wasserstein_is_the_difference_of_the_means():
    assert Wasserstein().discriminator(REAL, FAKE).item() == pytest.approx(-1.375 - 1.25)
    assert Wasserstein().generator(FAKE, REAL).item() == pytest.approx(1.375)


def test_relativistic_looks_at_differences_only():
    loss = Relativistic()
    assert loss.discriminator(REAL + 7, FAKE + 7).item() == pytest.approx(loss.discriminator(REAL, FAKE).item())
    assert loss.discriminator(REAL, REAL).item() == pytest.approx(LOG2)
    assert loss.generator(FAKE, REAL) == loss.discriminator(FAKE, REAL)


@pytest.mark.parametrize("name", ["bce", "hinge", "wgan-gp", "relativistic"])
def test_better_separation_costs_the_discriminator_less_and_better_fakes_the_generator(name: str):
    loss = objective(name, 1.0, 1.0)
    assert loss.discriminator(REAL, FAKE) < loss.discriminator(FAKE, REAL)
    assert loss.generator(FAKE + 1, REAL) < loss.generator(FAKE, REAL)


def test_gradient_norms_are_those_of_each_image():
    images = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(squared_gradient_norms(linear_critic, images), torch.full((4,), 25.0))
    torch.testing.assert_close(squared_gradient_norms(quadratic_critic, images), images.flatten(1).square().sum(dim=1))


def test_the_gradient_penalty_of_a_linear_critic_is_its_distance_from_slope_one():
    real, fake = torch.randn(2, 4, 3, 2, 2)
    assert Wasserstein(10).penalty(linear_critic, real, fake, uniform).item() == pytest.approx(10 * (5 - 1) ** 2)


def test_the_gradient_penalty_looks_between_real_and_fake_with_one_weight_an_image():
    real, fake = torch.zeros(4, 3, 2, 2), torch.ones(4, 3, 2, 2)
    seen: list[Tensor] = []

    def spy(images: Tensor) -> Tensor:
        seen.append(images)
        return linear_critic(images)

    Wasserstein().penalty(spy, real, fake, uniform)
    weights = seen[0].flatten(1)
    torch.testing.assert_close(weights, uniform(4, 1).expand(4, 12))


def test_r1_and_r2_of_a_quadratic_critic_are_the_mean_squared_lengths():
    real, fake = torch.randn(2, 4, 3, 2, 2)
    expected = 0.7 / 2 * sum(images.flatten(1).square().sum(dim=1).mean().item() for images in (real, fake))
    assert Relativistic(0.7).penalty(quadratic_critic, real, fake, uniform).item() == pytest.approx(expected)


def test_penalties_can_be_minimised():
    slope = torch.tensor(3.0, requires_grad=True)
    real, fake = torch.randn(2, 4, 3, 2, 2)
    Wasserstein(1).penalty(lambda images: slope * images.flatten(1)[:, :1], real, fake, uniform).backward()
    assert slope.grad is not None
    assert slope.grad.item() == pytest.approx(2 * (3 - 1))  # d/ds (s - 1)^2
