import torch
from torch import Tensor, nn

from training.layers import BatchNorm2d, crop, flip, initialise


def draws(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_batch_norm_in_one_process_is_torch_s_own():
    ours, theirs = BatchNorm2d(3), nn.BatchNorm2d(3)
    x = torch.randn(5, 3, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_initial_weights_have_deviation_0_02():
    torch.manual_seed(0)
    convolution = nn.Conv2d(64, 128, 4)
    initialise(convolution)
    assert abs(convolution.weight.std().item() - 0.02) < 0.001


def test_flip_mirrors_left_and_right_for_about_half():
    images = torch.arange(1000 * 3 * 2 * 4.0).view(1000, 3, 2, 4)
    flipped = flip(images, draws)
    is_same = (flipped == images).flatten(1).all(dim=1)
    assert 0.4 < is_same.float().mean() < 0.6
    assert torch.equal(flipped[~is_same], images[~is_same].flip(3))


def test_a_crop_begins_where_it_is_told_to_and_mirrors_the_square_not_the_image():
    images = torch.arange(2 * 3 * 6 * 6.0).view(2, 3, 6, 6)
    down, right = torch.tensor([0, 2]), torch.tensor([1, 0])
    expected = torch.stack([images[0, :, 0:4, 1:5], images[1, :, 2:6, 0:4]])
    assert torch.equal(crop(images, down, right, 4), expected)
    mirrored = crop(images, down, right, 4, torch.tensor([False, True]))
    assert torch.equal(mirrored, torch.stack([expected[0], expected[1].flip(2)]))
