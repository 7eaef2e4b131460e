import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from training import recipes
from training.errors import TrainingError
from training.gan.learner import LEARNING_STEPS, ExponentialAverage, GanLearner
from training.recipes import GanRecipe

REPOSITORY = Path(__file__).parents[3]
CLASSES, TOTAL = 10, 10
GANS = [recipe for recipe in recipes.RECIPES.values() if isinstance(recipe, GanRecipe)]


def learner(name: str, *changes: str, seed: int = 0) -> GanLearner:
    recipe = recipes.resolve(name, ["width=2", "classifier_width=2", *changes])
    assert isinstance(recipe, GanRecipe)
    return GanLearner(recipe, Fabric(accelerator="cpu", devices=1), TOTAL, seed, CLASSES)


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    numbers = torch.Generator().manual_seed(0)
    return [
        (torch.rand(8, 3, 32, 32, generator=numbers) * 2 - 1, torch.randint(CLASSES, (8,), generator=numbers))
        for _ in range(count)
    ]


def weights(part: GanLearner) -> dict[str, torch.Tensor]:
    networks = {"g": part.generator, "d": part.discriminator, "average": part.average.network}
    networks |= {} if part.classifier is None else {"classifier": part.classifier}
    return {
        f"{n}.{key}": value.clone() for n, network in networks.items() for key, value in network.state_dict().items()
    }


@pytest.mark.parametrize("name", [recipe.name for recipe in GANS])
def test_every_recipe_trains_both_networks_and_stays_finite(name: str):
    part = learner(name, "discriminator_steps=2")
    before = weights(part)
    figures = [part.step(*batch) for batch in batches(2)]
    assert all(torch.isfinite(value).all() for line in figures for value in line.values())
    assert "l_gen" not in figures[0]
    assert {"l_gen", "l_dis", "d_real", "d_fake", "g_gradient", "d_gradient"} <= figures[1].keys()
    after = weights(part)
    trained = [key for key in before if key.startswith(("g.", "d.")) and before[key].ndim == 4]  # all convolutions
    assert not [key for key in trained if torch.equal(before[key], after[key])]
    assert all(torch.isfinite(value).all() for value in after.values())


@pytest.mark.parametrize("name", ["dcgan", "sngan-cond", "wgan-gp"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(name: str):
    changes = ["diff_augment=true", "discriminator_steps=2"]
    whole, first, second = (learner(name, *changes) for _ in range(3))
    for batch in batches(6):
        whole.step(*batch)
    for batch in batches(6)[:3]:
        first.step(*batch)
    second.step(*batches(1)[0])  # what it holds before it is told to continue must not matter
    second.load_state_dict(first.state_dict())
    for batch in batches(6)[3:]:
        second.step(*batch)
    assert all(torch.equal(value, weights(second)[key]) for key, value in weights(whole).items())


def test_seeds_and_recipes_differ_and_a_seed_repeats():
    def start(name: str, seed: int) -> torch.Tensor:
        return learner(name, seed=seed).generator.stem.weight

    assert torch.equal(start("dcgan", 0), start("dcgan", 0))
    assert not torch.equal(start("dcgan", 0), start("dcgan", 1))
    assert not torch.equal(start("dcgan", 0), start("dcgan-relu-lrelu", 0))


def test_the_learning_rates_are_separate_and_fall_linearly_to_the_end():
    part = learner("sngan", "generator_learning_rate=1e-4", "discriminator_learning_rate=4e-4")
    for batch in batches(TOTAL // 2):  # the sixth of ten steps begins half-way
        part.step(*batch)
    rates = [
        optimizer.param_groups[0]["lr"]
        for optimizer in (part.optimizers["generator"], part.optimizers["discriminator"])
    ]
    assert rates == pytest.approx([0.5e-4, 2e-4])


def test_a_generator_that_is_updated_every_other_step_decays_at_the_pace_of_the_steps():
    part = learner("sngan", "discriminator_steps=2")
    rates = []
    for batch in batches(4):
        rates.append(part.optimizers["generator"].param_groups[0]["lr"] / part.recipe.generator_learning_rate)
        part.step(*batch)
    assert rates[1::2] == pytest.approx([0.9, 0.7])  # 1 and 3 of the 10 steps are behind the two updates


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_learning_rates_go_on_where_they_were_though_a_checkpoint_does_not_hold_their_schedules(steps: int):
    changes = ["blocks=plain", "discriminator_steps=2", "classifier_share=0.8"]
    first, second = (learner("sngan-cond", *changes) for _ in range(2))
    for batch in batches(steps):
        first.step(*batch)
    second.load_state_dict(first.state_dict())
    assert {"schedule", "schedules"}.isdisjoint(first.state_dict())
    for name, optimizer in first.optimizers.items():
        assert second.optimizers[name].param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_the_figures_that_are_watched_are_no_part_of_the_loss():
    """The discriminator's gradient is the gradient of its losses alone, whatever else is logged beside them."""
    part, other = learner("wgan-gp"), learner("wgan-gp")
    figures = part.step(*batches(1)[0])
    losses = {name for name in figures if name.startswith("l_")}
    assert losses == {"l_dis", "l_penalty"}
    other.objective.penalty = lambda _critic, real, _fake, _uniform: real.new_zeros(()).requires_grad_()
    unpenalised = other.step(*batches(1)[0])
    assert unpenalised["l_dis"] == figures["l_dis"]
    assert unpenalised["d_gradient"] != figures["d_gradient"]


def test_the_average_follows_weights_and_buffers_at_its_pace():
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = ExponentialAverage(network, 0.9)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.fill_(5)
    expected = {
        key: 0.9 * value + 0.1 * 5 for key, value in average.network.state_dict().items() if value.is_floating_point()
    }
    average.update(network, updates=1_000_000)
    for key, value in expected.items():
        torch.testing.assert_close(average.network.state_dict()[key], value)
    assert {"1.running_mean", "1.running_var", "0.weight"} <= expected.keys()


def test_the_average_soon_forgets_where_it_started_and_decay_zero_is_the_network_itself():
    network = nn.Linear(1, 1)
    average = ExponentialAverage(network, 0.999)
    with torch.no_grad():
        network.weight.fill_(100.0)
    average.update(network, updates=0)
    assert average.network.weight.item() > 85  # a decay of 1/10 at the first update
    assert ExponentialAverage(network, 0).network is network


def test_a_generator_that_makes_one_image_is_called_collapsed_late_in_the_training(caplog: pytest.LogCaptureFixture):
    part = learner("dcgan")
    with torch.no_grad():
        for parameter in part.generator.parameters():
            parameter.zero_()
    images, labels = batches(1)[0]
    assert part.validate(images, labels)["diversity"] < 0.05
    assert "collapse may be near" in caplog.text
    part.steps = LEARNING_STEPS
    with pytest.raises(TrainingError, match="collapsed"):
        part.validate(images, labels)


def test_pictures_are_a_column_a_class_from_latents_that_stay():
    part = learner("sngan-cond")
    first = part.pictures(batches(1)[0][0])["samples"]
    assert first.shape == (10, CLASSES, 3, 32, 32)
    assert torch.equal(first, part.pictures(batches(1)[0][0])["samples"])
    assert torch.equal(part.fixed_labels.view(10, CLASSES), torch.arange(CLASSES).expand(10, CLASSES))


def test_a_relativistic_recipe_with_every_cure_trains():
    part = learner("sngan-cond", "objective=relativistic", "penalty_weight=0.5", "diff_augment=true", "blocks=plain")
    figures = part.step(*batches(1)[0])
    assert figures["l_penalty"] > 0
    assert all(torch.isfinite(value) for value in figures.values())


def test_two_processes_give_the_weights_of_one(tmp_path: Path):
    found = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.pt"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        completed = subprocess.run(
            [*command, str(REPOSITORY / "tests" / "training" / "gan_processes.py"), str(out)],
            capture_output=True,
            env=environment,
            text=True,
            check=False,
        )
        assert completed.returncode == 0, completed.stderr
        found.append(torch.load(out, weights_only=True))
    for network, state in found[0].items():
        for name, value in state.items():
            if network == "generator" and name.endswith("bias"):
                continue  # batch norm cancels it: its gradient is rounding alone, which Adam scales up
            torch.testing.assert_close(found[1][network][name], value, rtol=1e-3, atol=2e-5, msg=f"{network} {name}")


def test_the_classifier_is_trained_on_real_images_alone_and_its_verdict_reaches_the_generator():
    part = learner("sngan-cond", "blocks=plain", "discriminator_steps=2")
    assert part.classifier is not None
    before = {name: value.clone() for name, value in part.classifier.named_parameters()}
    first, second = (part.step(*batch) for batch in batches(2))
    assert {"l_class"} <= first.keys()
    assert "l_gen_class" not in first
    assert second["l_gen_class"] > 0
    assert not any(torch.equal(before[name], value) for name, value in part.classifier.named_parameters())
    assert learner("cgan").classifier is None


def test_the_classifier_is_fixed_after_its_share_of_the_steps_and_still_guides_the_generator():
    part = learner("sngan-cond", "blocks=plain", "classifier_share=0.2")
    assert part.classifier is not None
    rates, figures, kept = [], [], {}
    for batch in batches(4):
        rates.append(part.optimizers["classifier"].param_groups[0]["lr"] / part.recipe.classifier_learning_rate)
        figures.append(part.step(*batch))
        if part.steps == 0.2 * TOTAL:
            kept = {name: value.clone() for name, value in part.classifier.state_dict().items()}
    assert rates == pytest.approx([1, 0.5, 0, 0])
    assert ["l_class" in line for line in figures] == [True, True, False, False]
    assert all("l_gen_class" in line for line in figures)
    assert all(torch.equal(kept[name], value) for name, value in part.classifier.state_dict().items())
