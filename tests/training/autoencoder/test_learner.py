import copy
import math

import pytest
import torch
from lightning_fabric import Fabric

from service.images import fit
from training import recipes
from training.autoencoder import objectives
from training.autoencoder.learner import PATIENCE_STEPS, AutoencoderLearner
from training.data import to_images
from training.errors import TrainingError
from training.recipes import AutoencoderRecipe

TOTAL = 10


def learner(name: str = "shared-aae", *changes: str, total: int = TOTAL) -> AutoencoderLearner:
    recipe = recipes.resolve(name, ["widths=4,4,4", "latent_size=4", *changes])
    assert isinstance(recipe, AutoencoderRecipe)
    return AutoencoderLearner(recipe, Fabric(accelerator="cpu", devices=1), total, 0)


def batches(count: int) -> list[torch.Tensor]:
    numbers = torch.Generator().manual_seed(0)
    return [torch.rand(8, 1, 32, 32, generator=numbers) * 2 - 1 for _ in range(count)]


def test_the_loss_is_the_weighted_sum_of_its_three_parts():
    figures = learner("shared-aae", "contextual_weight=3", "latent_weight=5", "adversarial_weight=7").step(
        batches(1)[0]
    )
    assert figures.keys() == {"loss", "l_con", "l_lat", "l_dis", "l_adv"}
    expected = 3 * figures["l_con"] + 5 * figures["l_lat"] + 7 * figures["l_adv"]
    torch.testing.assert_close(figures["loss"], expected)


def test_the_plain_autoencoder_leaves_the_discriminator_alone():
    part = learner("conv-ae")
    before = copy.deepcopy(part.discriminator.state_dict())
    figures = part.step(batches(1)[0])
    assert figures.keys() == {"loss", "l_con", "l_lat"}
    assert figures["loss"] == figures["l_con"]
    assert all(torch.equal(value, before[name]) for name, value in part.discriminator.state_dict().items())


def test_a_restoring_autoencoder_sees_outliers_and_is_held_to_the_images_they_were_made_of():
    part, given = learner("restoring-aae", "outlier_share=0.5"), batches(1)[0]
    shown, weights = part._shown(given)
    changed = (shown != given).flatten(1).any(dim=1)
    assert changed.tolist() == [True] * 4 + [False] * 4
    assert weights.tolist() == [2.0] * 4 + [0.0] * 4
    assert shown.min() >= -1
    assert shown.max() <= 1


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_l_restore_is_the_error_of_the_outliers_alone(share: float):
    part, given = learner("restoring-aae", f"outlier_share={share}"), batches(1)[0]
    state = copy.deepcopy(part.state_dict())
    figures = part.step(given)
    part.load_state_dict(state)
    shown, _ = part._shown(given)
    x_hat = part.autoencoder.train()(shown)[0]
    errors = objectives.l_con(given, x_hat)
    torch.testing.assert_close(figures["l_con"], errors.mean().detach())
    torch.testing.assert_close(figures["l_restore"], errors[: math.ceil(8 * share)].mean().detach())


def test_a_restoring_autoencoder_learns_to_restore(digits):
    glyphs = to_images(torch.from_numpy(fit(digits["x_train"][digits["y_train"] == 1], 32)))
    part = learner("restoring-aae", "widths=8,16,16", "latent_size=8", "learning_rate=0.005", total=60)
    figures = [part.step(glyphs)["l_restore"].item() for _ in range(60)]
    assert figures[-1] < 0.5 * figures[0]


def test_a_resumed_run_ends_as_an_uninterrupted_one():
    whole, first, second = (learner("shared-aae", "outlier_share=0.5") for _ in range(3))
    for images in batches(6):
        whole.step(images)
    for images in batches(6)[:3]:
        first.step(images)
    second.step(batches(1)[0])  # what it holds before it is told to continue must not matter
    second.load_state_dict(first.state_dict())
    for images in batches(6)[3:]:
        second.step(images)
    state = second.autoencoder.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.autoencoder.state_dict().items())


def test_a_checkpoint_of_an_older_version_continues_the_noise():
    """It holds the noise as a bare tensor, and the state of another class of schedule."""
    part, other = learner(), learner()
    part.step(batches(1)[0])
    state = copy.deepcopy(part.state_dict())
    lambdas = {"base_lrs": [1e-3], "last_epoch": 1, "_step_count": 2, "_last_lr": [9e-4], "lr_lambdas": [None]}
    older = {"noise": state["noise"]["generator"], "schedule": lambdas, "discriminator_schedule": lambdas}
    other.load_state_dict(state | older)
    assert part.step(batches(2)[1]) == other.step(batches(2)[1])


def test_the_learning_rate_falls_on_a_cosine_to_its_final_factor():
    part = learner("shared-aae", "learning_rate=0.01", "final_learning_rate_factor=0.1")
    rates = []
    for images in batches(TOTAL):
        part.step(images)
        rates.append(part.optimizer.param_groups[0]["lr"])
    expected = [0.001 + 0.009 * (1 + math.cos(math.pi * step / TOTAL)) / 2 for step in range(1, TOTAL + 1)]
    assert rates == pytest.approx(expected)


def test_one_reconstruction_for_all_is_called_a_collapse_once_patience_is_over():
    part = learner(total=PATIENCE_STEPS)
    with torch.no_grad():
        for parameter in part.autoencoder.decoder.parameters():
            parameter.zero_()
    images = batches(1)[0]
    assert part.validate(images)["val_diversity"] < 0.05
    part.schedules[0].last_epoch = PATIENCE_STEPS
    with pytest.raises(TrainingError, match="expected reconstructions that differ"):
        part.validate(images)


def test_pictures_show_images_above_their_reconstructions():
    part = learner()
    images = batches(1)[0]
    pictured = part.pictures(images)["reconstructions"]
    assert pictured.shape == (2, 8, 1, 32, 32)
    assert torch.equal(pictured[0], images)
