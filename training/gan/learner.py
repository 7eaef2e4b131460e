"""The GANs' learner: a generator and a discriminator that train against each other, for every GanRecipe."""

import copy
import logging
import zlib
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.errors import TrainingError
from training.gan.augment import diff_augment
from training.gan.networks import AuxiliaryClassifier, Discriminator, Generator
from training.gan.objectives import objective, total_loss
from training.layers import EVALUATION_BATCH, flip
from training.parallel import Noise, average, average_gradients, world_size
from training.recipes import GanRecipe

PICTURED_PER_CLASS = 10
COLLAPSE_DIVERSITY, LOW_DIVERSITY = 0.05, 0.5
CLASSIFIER_BETAS = (0.9, 0.999)
LEARNING_STEPS = 500  # before these, a generator may not have begun to learn

log = logging.getLogger(__name__)


class GanLearner:
    """One training step, monitors and state of a GAN recipe; see GanRecipe for its switches."""

    def __init__(self, recipe: GanRecipe, fabric: Fabric, total_steps: int, seed: int, classes: int) -> None:
        seed = zlib.crc32(f"{recipe.name}/{seed}".encode())  # else recipes with one seed would start alike
        torch.manual_seed(seed)
        self.recipe, self.fabric, self.total_steps, self.classes = recipe, fabric, total_steps, classes
        self.steps = 0
        self.objective = objective(recipe.objective, recipe.real_label, recipe.penalty_weight)
        self.noise = Noise(seed, fabric.device)
        self.generator = build_generator(recipe, classes).to(fabric.device)
        self.discriminator = build_discriminator(recipe, classes).to(fabric.device)
        self.classifier = (
            AuxiliaryClassifier(recipe.classifier_width, classes).to(fabric.device)
            if recipe.classifier_weight
            else None
        )
        self.average = ExponentialAverage(self.generator, recipe.ema_decay)
        self.optimizers = {
            "generator": self._adam(self.generator, recipe.generator_learning_rate, recipe.betas),
            "discriminator": self._adam(self.discriminator, recipe.discriminator_learning_rate, recipe.betas),
        }
        if self.classifier is not None:
            self.optimizers["classifier"] = self._adam(
                self.classifier, recipe.classifier_learning_rate, CLASSIFIER_BETAS
            )
        self.schedules = self._schedules()
        self.generate, self.discriminate = self._compiled()
        fixed = torch.Generator().manual_seed(seed)
        self.fixed_z = torch.randn(PICTURED_PER_CLASS * classes, recipe.latent_size, generator=fixed).to(fabric.device)
        self.fixed_labels = torch.arange(classes, device=fabric.device).repeat(PICTURED_PER_CLASS)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Update on this process's part of a batch, `images` [N, 3, 32, 32] in [-1, 1] and `labels` [N].

        The discriminator is updated every time, the generator every `discriminator_steps`-th time. Generated images get
        the labels of the real images. Accuracies count logits above 0 as "real". A gradient's norm is taken over the whole
        network.
        """
        self.generator.train()
        self.discriminator.train()
        self.steps += 1
        updates_generator = self.steps % self.recipe.discriminator_steps == 0
        real = flip(images, self.noise.uniform) if self.recipe.flip else images
        with torch.set_grad_enabled(updates_generator), self.fabric.autocast():
            fake = self.generate(self.noise.normal(len(images), self.recipe.latent_size), labels)
        figures = self._discriminator_step(real, fake.detach().float(), labels)
        if self.classifier is not None and self.steps <= self.recipe.classifier_share * self.total_steps:
            figures |= self._classifier_step(self.classifier, real, labels)
        if updates_generator:
            figures |= self._generator_step(real, fake, labels)
        return {name: average(value.detach()) for name, value in figures.items()}

    @torch.no_grad()
    def validate(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Return the discriminator's accuracy on held-out `images`, and the diversity of a fixed batch of generated images.

        `diversity` is the spread of the generated images over the batch, divided by the spread of the real images. It is 0 if
        all generated images are equal. A low diversity is a warning; near 0 late in the training it is a TrainingError.
        """
        self.discriminator.eval()
        fake = self._generate_fixed()
        diversity = (fake.std(dim=0).mean() / images.std(dim=0).mean().clamp_min(1e-6)).item()
        if diversity < COLLAPSE_DIVERSITY and self.steps >= max(LEARNING_STEPS, self.total_steps / 2):
            raise TrainingError(
                f"training: expected generated images that differ, got one for all (diversity {diversity:.3f}) after "
                f"{self.steps} steps: the model collapsed; lower the learning rates, raise --set epochs or change --seed"
            )
        if diversity < LOW_DIVERSITY:
            log.warning("generated images vary %.2f times as much as real images: a collapse may be near", diversity)
        logits = torch.cat(
            [
                self.discriminator(*batch)
                for batch in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
            ]
        )
        return {"val_d_real": (logits > 0).float().mean().item(), "diversity": diversity}

    def pictures(self, _images: Tensor) -> dict[str, Tensor]:
        """Return "samples" from fixed latents, a column for each class: [10, classes, 3, 32, 32]."""
        return {"samples": self._generate_fixed().unflatten(0, (PICTURED_PER_CLASS, self.classes))}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {**{name: part.state_dict() for name, part in self._parts().items()}, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.steps = state["steps"]
        self.schedules = self._schedules()

    def _discriminator_step(self, real: Tensor, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        real, fake = self._augment(real), self._augment(fake)
        on_real, on_fake = self._judge(real, labels), self._judge(fake, labels)
        losses = {"l_dis": self.objective.discriminator(on_real, on_fake)}
        if self.objective.has_penalty:
            losses["l_penalty"] = self.objective.penalty(
                lambda images: self.discriminator(images, labels), real, fake, self.noise.uniform
            )
        total_loss(losses).backward(inputs=list(self.discriminator.parameters()))
        accuracies = {"d_real": (on_real > 0).float().mean(), "d_fake": (on_fake <= 0).float().mean()}
        return {**losses, "d_gradient": self._update("discriminator", self.discriminator), **accuracies}

    def _classifier_step(self, classifier: nn.Module, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        loss = cross_entropy(self._classify(classifier.train(), real), labels)
        loss.backward(inputs=list(classifier.parameters()))
        self._update("classifier", classifier)
        return {"l_class": loss}

    def _generator_step(self, real: Tensor, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        on_fake = on_real = self._judge(self._augment(fake), labels)
        if self.objective.compares:
            with torch.no_grad():
                on_real = self._judge(self._augment(real), labels)
        losses = {"l_gen": self.objective.generator(on_fake, on_real)}
        if self.classifier is not None:
            on_class = cross_entropy(self._classify(self.classifier.eval(), fake), labels)
            losses["l_gen_class"] = self.recipe.classifier_weight * on_class
        total_loss(losses).backward(inputs=list(self.generator.parameters()))
        figures = {**losses, "g_gradient": self._update("generator", self.generator)}
        self.average.update(self.generator, self.steps // self.recipe.discriminator_steps)
        return figures

    def _classify(self, classifier: nn.Module, images: Tensor) -> Tensor:
        augmented = diff_augment(
            images, self.noise.uniform
        )  # otherwise the generator fools it with imperceptible patterns
        with self.fabric.autocast():
            logits: Tensor = classifier(augmented)
        return logits.float()

    def _judge(self, images: Tensor, labels: Tensor) -> Tensor:
        with self.fabric.autocast():
            return self.discriminate(images, labels)

    def _augment(self, images: Tensor) -> Tensor:
        return diff_augment(images, self.noise.uniform) if self.recipe.diff_augment else images

    def _update(self, name: str, network: nn.Module) -> Tensor:
        """Return the norm of all gradients of `network`, after an optimizer step along them that clears them."""
        optimizer, parameters = self.optimizers[name], list(network.parameters())
        average_gradients(parameters)
        norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        optimizer.step()
        optimizer.zero_grad()
        self.schedules[name].step()
        return norm

    def _schedules(self) -> dict[str, LambdaLR]:
        """Return the learning rates' schedules from here on. They follow from `steps`, so no checkpoint holds them."""
        recipe = self.recipe
        last = recipe.final_learning_rate_factor
        schedules = {
            "generator": self._linear_decay("generator", last, every=recipe.discriminator_steps),
            "discriminator": self._linear_decay("discriminator", last),
        }
        if self.classifier is not None:
            schedules["classifier"] = self._linear_decay("classifier", 0, share=recipe.classifier_share)
        return schedules

    def _linear_decay(self, name: str, last: float, *, every: int = 1, share: float = 1) -> LambdaLR:
        """Return a decay to the factor `last` over `share` of all steps, for a network updated in every `every`-th step."""

        def factor(updates: int) -> float:
            steps_before = (updates + 1) * every - 1
            return 1 - min(steps_before / self.total_steps / share, 1) * (1 - last)

        return LambdaLR(self.optimizers[name], factor, last_epoch=self.steps // every - 1)

    def _adam(self, network: nn.Module, learning_rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
        return torch.optim.Adam(network.parameters(), learning_rate, betas, fused=True)

    def _compiled(self) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        # On a CPU eager code is as fast; Inductor has no second derivative, which a penalty needs.
        if self.fabric.device.type != "cuda" or world_size() > 1:
            return self.generator, self.discriminator
        discriminate = self.discriminator if self.objective.has_penalty else torch.compile(self.discriminator)
        return torch.compile(self.generator), discriminate

    @torch.no_grad()
    def _generate_fixed(self) -> Tensor:
        images: Tensor = self.average.network.eval()(self.fixed_z, self.fixed_labels)
        return images

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "average": self.average.network,
            "discriminator": self.discriminator,
            **({} if self.classifier is None else {"classifier": self.classifier}),
            **{f"{name}_optimizer": optimizer for name, optimizer in self.optimizers.items()},
            "noise": self.noise,
        }


class ExponentialAverage:
    """A copy of a network whose weights slowly follow the weights of the network; with decay 0, the network itself.

    Buffers, such as batch norm's running statistics, follow at the same pace. After n updates the decay is at most
    (1 + n) / (10 + n), so that random weights are soon forgotten. (torch's AveragedModel waits for the device every step.)
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False) if decay else network
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Follow `network`, which has been updated `updates` times."""
        if not self.decay:
            return
        follower, leader = self.network.state_dict(), network.state_dict()
        names = [name for name, value in leader.items() if value.is_floating_point()]
        follow = get_ema_multi_avg_fn(min(self.decay, (1 + updates) / (10 + updates)))
        follow([follower[name] for name in names], [leader[name] for name in names], updates)


def build_generator(recipe: GanRecipe, classes: int) -> Generator:
    """Return the generator that `recipe` describes, with random weights."""
    return Generator(
        recipe.latent_size,
        recipe.width,
        norm=recipe.generator_norm,
        activation=recipe.generator_activation,
        blocks=recipe.blocks,
        conditioning=recipe.conditioning,
        classes=classes,
    )


def build_discriminator(recipe: GanRecipe, classes: int) -> Discriminator:
    """Return the discriminator that `recipe` describes, with random weights."""
    return Discriminator(
        recipe.width,
        norm=recipe.discriminator_norm,
        spectral=recipe.spectral_norm,
        activation=recipe.discriminator_activation,
        blocks=recipe.blocks,
        conditioning=recipe.conditioning,
        minibatch_stddev=recipe.minibatch_stddev,
        classes=classes,
    )
