import math

import torch

from training.autoencoder import objectives


def test_l_con_of_opposite_images_is_the_whole_pixel_range():
    white = torch.ones(3, 1, 32, 32)
    assert torch.equal(objectives.l_con(white, -white), torch.ones(3))


def test_l_con_is_the_mean_absolute_pixel_error_of_each_image():
    images = torch.zeros(2, 1, 2, 2)
    reconstructions = torch.tensor([[[[0.4, 0.0], [0.0, 0.0]]], [[[-0.4, 0.4], [0.4, 0.4]]]])
    torch.testing.assert_close(objectives.l_con(images, reconstructions), torch.tensor([0.05, 0.2]))


def test_latent_is_the_mean_squared_distance_of_each_code():
    z = torch.tensor([[1.0, 2.0], [0.0, 0.0]]).view(2, 2, 1, 1)
    torch.testing.assert_close(objectives.latent(z, torch.zeros_like(z)), torch.tensor([2.5, 0.0]))


def test_undecided_discriminator_loses_log_two():
    logits = torch.zeros(4, 1)
    loss = objectives.adversarial_discriminator(logits, logits)
    torch.testing.assert_close(loss.item(), math.log(2))


def test_discriminator_wants_high_logits_for_the_prior_and_low_ones_for_codes():
    high, low = torch.full((4, 1), 5.0), torch.full((4, 1), -5.0)
    assert objectives.adversarial_discriminator(high, low) < 0.01
    assert objectives.adversarial_discriminator(low, high) > 4


def test_encoder_wants_the_discriminator_fooled():
    assert objectives.adversarial_generator(torch.full((4, 1), 5.0)) < 0.01
    assert objectives.adversarial_generator(torch.full((4, 1), -5.0)) > 4
