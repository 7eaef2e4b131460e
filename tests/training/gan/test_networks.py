import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from training.gan.networks import AuxiliaryClassifier, Discriminator, Generator, Norm, with_stddev
from training.layers import BatchNorm2d

CLASSES, LATENT, WIDTH = 10, 12, 4


def generator(**changes: object) -> Generator:
    switches = {"norm": "batch", "activation": "relu", "blocks": "plain", "conditioning": "none", "classes": CLASSES}
    return Generator(LATENT, WIDTH, **{**switches, **changes})


def discriminator(**changes: object) -> Discriminator:
    switches = {
        "norm": "none",
        "spectral": False,
        "activation": "lrelu",
        "blocks": "plain",
        "conditioning": "none",
        "minibatch_stddev": False,
        "classes": CLASSES,
    }
    return Discriminator(WIDTH, **{**switches, **changes})


def kinds(network: nn.Module, *kind: type) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("blocks", ["plain", "residual"])
@pytest.mark.parametrize(
    ("conditioning", "norm"), [("none", "none"), ("embedding", "batch"), ("projection", "conditional-batch")]
)
def test_generators_make_images_in_range(blocks: str, conditioning: str, norm: str):
    images = generator(blocks=blocks, conditioning=conditioning, norm=norm)(torch.randn(5, LATENT), torch.arange(5))
    assert images.shape == (5, 3, 32, 32)
    assert images.abs().max() <= 1


@pytest.mark.parametrize("blocks", ["plain", "residual"])
@pytest.mark.parametrize("conditioning", ["none", "embedding", "projection"])
@pytest.mark.parametrize("minibatch_stddev", [True, False])
def test_discriminators_give_a_logit_an_image(blocks: str, conditioning: str, minibatch_stddev: bool):
    network = discriminator(blocks=blocks, conditioning=conditioning, minibatch_stddev=minibatch_stddev)
    assert network(torch.randn(5, 3, 32, 32), torch.arange(5)).shape == (5, 1)


def test_the_classifier_gives_a_logit_a_class():
    assert AuxiliaryClassifier(WIDTH, CLASSES)(torch.randn(5, 3, 32, 32)).shape == (5, CLASSES)


def test_the_networks_are_dcgans_at_width_64():
    full_g = Generator(100, 64, norm="batch", activation="relu", blocks="plain", conditioning="none", classes=CLASSES)
    assert [layer.weight.shape[1] for layer in kinds(full_g, nn.ConvTranspose2d)] == [256, 128, 64, 3]
    assert [layer.weight.shape[0] for layer in kinds(discriminator(), nn.Conv2d)] == [WIDTH, 2 * WIDTH, 4 * WIDTH, 1]


@pytest.mark.parametrize(("norm", "norms"), [("none", 0), ("batch", 2), ("batch-all", 3)])
def test_batch_norm_in_the_discriminator_leaves_out_the_first_layer_unless_all(norm: str, norms: int):
    assert len(kinds(discriminator(norm=norm), BatchNorm2d)) == norms


def test_conditional_batch_norm_takes_scale_and_shift_from_the_label():
    norm = Norm("conditional-batch", 3, CLASSES)
    assert norm.affine is not None
    x = torch.randn(6, 3, 4, 4)
    plain = norm(x, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(plain, nn.BatchNorm2d(3)(x))  # all classes begin with scale 1 and shift 0
    with torch.no_grad():
        norm.affine.weight[7] = torch.tensor([2.0, 2.0, 2.0, 5.0, 5.0, 5.0])
    labels = torch.tensor([7, 0, 7, 1, 2, 3])
    conditional = norm(x, labels)
    torch.testing.assert_close(conditional[labels == 7], 2 * plain[labels == 7] + 5)
    torch.testing.assert_close(conditional[labels != 7], plain[labels != 7])


def test_the_projection_is_the_inner_product_of_label_and_pooled_features():
    network = discriminator(conditioning="projection").eval()
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 3, 3, 9])
    assert network.projection is not None
    features = network.trunk(images).sum(dim=(2, 3))
    unconditional = network.head(network.trunk(images)).flatten(1)
    expected = unconditional + (features @ network.projection.weight.T).gather(1, labels[:, None])
    torch.testing.assert_close(network(images, labels), expected)


def test_conditional_models_see_their_label():
    z, images = torch.randn(2, LATENT), torch.randn(2, 3, 32, 32)
    zeros, nines = torch.zeros(2, dtype=torch.int64), torch.full((2,), 9)
    for network, inputs in (
        (generator(conditioning="embedding").eval(), z),
        (discriminator(conditioning="embedding").eval(), images),
        (discriminator(conditioning="projection").eval(), images),
    ):
        assert not torch.equal(network(inputs, zeros), network(inputs, nines))


@pytest.mark.parametrize("blocks", ["plain", "residual"])
def test_spectral_norm_holds_every_layer_of_the_discriminator_to_norm_one(blocks: str):
    network = discriminator(spectral=True, blocks=blocks, conditioning="projection")
    for _ in range(50):  # each forward pass is one step of the power iteration
        network(torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64))
    layers = kinds(network.eval(), nn.Conv2d, nn.Embedding)
    assert all(parametrize.is_parametrized(layer, "weight") for layer in layers)
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert norms == pytest.approx([1] * len(norms), abs=0.02)


def test_minibatch_stddev_is_zero_for_a_collapsed_batch_and_the_deviation_for_another():
    same = torch.randn(1, 3, 2, 2).expand(4, 3, 2, 2)
    assert with_stddev(same)[:, 3].abs().max() < 1e-3
    spread = torch.cat([torch.full((2, 3, 2, 2), 5.0), torch.full((2, 3, 2, 2), -1.0)])
    torch.testing.assert_close(with_stddev(spread)[:, 3], torch.full((4, 2, 2), 3.0))


def test_batch_mates_do_not_change_a_generated_image():
    network = generator(norm="conditional-batch", conditioning="projection")
    z, labels = torch.randn(6, LATENT), torch.arange(6)
    network(z, labels)  # running statistics that are not those of the start
    network.eval()
    torch.testing.assert_close(network(z, labels)[:2], network(z[:2], labels[:2]), atol=1e-6, rtol=0)
