import copy

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.nn.functional import pad

from training import recipes
from training.cifar_net import CifarNet, CifarNetLearner
from training.export import PARITY_BATCHES, export
from training.publish.classifier import OUTPUTS, ClassifierGraph
from training.recipes import ClassifierRecipe

STEPS = 10


def small_recipe() -> ClassifierRecipe:
    recipe = recipes.resolve("cifar-net", ["widths=24,24,24"])
    assert isinstance(recipe, ClassifierRecipe)
    return recipe


def textures(count: int) -> torch.Tensor:
    noise = torch.randn(count, 3, 34, 34, generator=torch.Generator().manual_seed(0))
    smooth = noise[:, :, 2:, 2:] + noise[:, :, 1:-1, 1:-1] + noise[:, :, :-2, :-2]
    return (smooth / 3).clamp(-1, 1)


def make_learner() -> CifarNetLearner:
    return CifarNetLearner(small_recipe(), Fabric(accelerator="cpu"), STEPS, 0, 10, textures(64))


@pytest.fixture
def learner() -> CifarNetLearner:
    return make_learner()


def test_the_first_layer_makes_patches_uncorrelated_with_variance_1_and_mean_0():
    network = CifarNet((24, 24, 24), 10, 1 / 9)
    images = textures(64) + torch.tensor([0.5, 0.0, -0.5])[:, None, None]
    network.whiten(images)
    responses = network.whitening(images).transpose(0, 1).flatten(1)  # [24, patches]
    half = torch.cov(responses[:12])
    assert torch.allclose(responses[:12], -responses[12:], atol=1e-4)
    assert torch.allclose(responses.mean(dim=1), torch.zeros(24), atol=1e-4)
    assert torch.allclose(half, torch.eye(12), atol=0.05)  # a little below 1 where the variance is near the epsilon


def test_a_published_classifier_does_not_tell_an_image_from_its_mirror_image():
    network = CifarNet((24, 24, 24), 10, 1 / 9).eval()
    images = textures(4)
    for straight, mirrored in zip(network(images), network(images.flip(3)), strict=True):
        assert torch.allclose(straight, mirrored, atol=1e-5)
    assert not torch.allclose(network(images)[0], network(images.flip(2))[0], atol=1e-3)


def test_augmented_images_are_crops_of_the_reflected_image_or_of_its_mirror_image(learner: CifarNetLearner):
    images = textures(32)
    mirrored = 0
    for image, augmented in zip(images, learner._augment(images), strict=True):
        padded = pad(image, (2, 2, 2, 2), mode="reflect")
        crops = [padded[:, y : y + 32, x : x + 32] for y in range(5) for x in range(5)]
        matches = [torch.equal(crop, augmented) for crop in crops], [torch.equal(c.flip(2), augmented) for c in crops]
        assert sum(map(sum, matches)) == 1
        mirrored += sum(matches[1])
    assert 8 < mirrored < 24


def test_the_learning_rate_rises_to_the_peak_and_falls(learner: CifarNetLearner):
    factors = [learner._learning_rate_factor(step) for step in (0, 1, 2, 3, 6, STEPS)]
    assert factors[0] == pytest.approx(0.2)
    assert factors[-1] == pytest.approx(0.07)
    assert factors[:3] == sorted(factors[:3])
    assert factors[3:] == sorted(factors[3:], reverse=True)
    assert learner._learning_rate_factor(learner.recipe.peak * STEPS) == pytest.approx(1)


def test_a_few_steps_learn_and_a_continued_run_gives_the_same_numbers(learner: CifarNetLearner):
    images, labels = textures(64), torch.arange(64) % 2
    images[labels == 1] = images[labels == 1].flip(1) * 0.5
    losses = []
    for step in range(STEPS):
        if step == STEPS // 2 + 1:
            saved = copy.deepcopy(learner.state_dict())
        losses.append(learner.step(images, labels)["loss"].item())
    assert losses[-1] < losses[0] - 0.3
    assert learner.validate(images, labels)["val_accuracy"] > 0.9
    other = make_learner()
    other.load_state_dict(saved)
    continued = [other.step(images, labels)["loss"].item() for _ in range(STEPS // 2 + 1, STEPS)]
    assert continued == losses[STEPS // 2 + 1 :]
    assert all(torch.equal(a, b) for a, b in zip(other.network.parameters(), learner.network.parameters(), strict=True))


def test_the_export_agrees_with_torch_at_every_batch_size(tmp_path):
    network = CifarNet((24, 24, 24), 10, 1 / 9)
    network.whiten(textures(16))
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    exported = export(ClassifierGraph(network), {"pixels": pixels}, OUTPUTS, tmp_path / "classifier.onnx")
    assert {spec.name: spec.shape for spec in exported.graph.outputs} == {
        "features": ("batch", 24),
        "logits": ("batch", 10),
    }
    assert set(exported.relative_difference) == set(PARITY_BATCHES)
