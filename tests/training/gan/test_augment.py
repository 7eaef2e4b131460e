import torch
from torch import Tensor

from training.gan.augment import diff_augment


def constant(value: float):
    return lambda *shape: torch.full(shape, value)


def draws(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_diff_augment_keeps_the_shape_and_lets_gradients_through():
    images = torch.randn(8, 3, 32, 32, requires_grad=True)
    augmented = diff_augment(images, draws)
    assert augmented.shape == images.shape
    augmented.sum().backward()
    assert images.grad is not None
    assert (images.grad.flatten(1).abs().sum(dim=1) > 0).all()


def test_diff_augment_in_the_middle_of_its_range_only_cuts_out():
    images = torch.randn(2, 3, 32, 32)
    augmented = diff_augment(
        images, constant(0.5)
    )  # no change of colour, no shift, a hole of half the side in the middle
    expected = images.clone()
    expected[:, :, 8:24, 8:24] = 0
    torch.testing.assert_close(augmented, expected, atol=1e-5, rtol=0)


def test_diff_augment_treats_every_image_by_itself_and_differently():
    images = torch.randn(1, 3, 32, 32).expand(4, 3, 32, 32)
    augmented = diff_augment(images, draws)
    assert not torch.equal(augmented[0], augmented[1])


def test_diff_augment_shifts_the_whole_image_and_fills_with_nothing():
    images = torch.ones(1, 3, 32, 32)
    numbers = iter([torch.full((1, 3, 1, 1), 0.5), torch.zeros(1, 2), torch.full((1, 2), 0.999)])
    augmented = diff_augment(images, lambda *_shape: next(numbers))
    expected = torch.zeros(1, 3, 32, 32)
    expected[:, :, 4:, 4:] = 1  # down and right by an eighth
    expected[:, :, 24:, 24:] = 0  # the hole reaches over the edge
    torch.testing.assert_close(augmented, expected)
