import torch
from torch import nn

from training.autoencoder.learner import Autoencoder
from training.autoencoder.networks import CodeDiscriminator
from training.recipes import SHARED_AAE


def test_shapes_are_those_of_the_reference_report():
    autoencoder = Autoencoder(SHARED_AAE.latent_size, SHARED_AAE.widths)
    discriminator = CodeDiscriminator(SHARED_AAE.latent_size, SHARED_AAE.discriminator_widths)
    x = torch.zeros(64, 1, 32, 32)
    x_hat, z, z_hat = autoencoder(x)
    assert x_hat.shape == (64, 1, 32, 32)
    assert z.shape == z_hat.shape == (64, 100, 1, 1)
    assert discriminator(z).shape == (64, 1)


def test_encoder_has_four_convolutions_of_64_128_256_and_100_filters_and_the_decoder_mirrors_it():
    autoencoder = Autoencoder(SHARED_AAE.latent_size, SHARED_AAE.widths)
    encoder = [layer.out_channels for layer in autoencoder.encoder if isinstance(layer, nn.Conv2d)]
    decoder = [layer.in_channels for layer in autoencoder.decoder if isinstance(layer, nn.ConvTranspose2d)]
    assert encoder == [64, 128, 256, 100]
    assert decoder == encoder[::-1]


def test_one_encoder_serves_the_image_and_its_reconstruction():
    autoencoder = Autoencoder(8, (4, 4, 4)).eval()
    x_hat, _, z_hat = autoencoder(torch.randn(2, 1, 32, 32))
    assert torch.equal(z_hat, autoencoder.encoder(x_hat))


def test_reconstructions_stay_in_range():
    x_hat, _, _ = Autoencoder(8, (4, 4, 4))(1000 * torch.randn(2, 1, 32, 32))
    assert x_hat.abs().max() <= 1
