"""The shared-encoder adversarial autoencoder: one encoder for x to z, x_hat to z_hat, and z into a discriminator."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from training.autoencoder import objectives
from training.autoencoder.networks import CodeDiscriminator, Decoder, Encoder
from training.density.outliers import outliers
from training.errors import TrainingError
from training.layers import initialise
from training.parallel import Noise, average, average_gradients, own_part, whole
from training.recipes import AutoencoderRecipe

COLLAPSE_DIVERSITY = 0.05
PATIENCE_STEPS = 200  # before, an untrained model looks like a collapsed one


class Autoencoder(nn.Module):
    """Encoder and decoder, used as x -> z -> x_hat -> z_hat with one and the same encoder at both ends."""

    def __init__(self, latent_size: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = Encoder(latent_size, widths)
        self.decoder = Decoder(latent_size, widths)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x_hat [N, 1, 32, 32] in [-1, 1], z and z_hat [N, latent_size, 1, 1] for images `x` [N, 1, 32, 32]."""
        z = self.encoder(x)
        x_hat = self.decoder(z)
        return x_hat, z, self.encoder(x_hat)


class AutoencoderLearner:
    """One training step, validation and state of an autoencoder recipe; see AutoencoderRecipe for the objective."""

    def __init__(self, recipe: AutoencoderRecipe, fabric: Fabric, total_steps: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.recipe = recipe
        self.total_steps = total_steps
        self.fabric = fabric
        self.autoencoder = Autoencoder(recipe.latent_size, recipe.widths)
        self.discriminator = CodeDiscriminator(recipe.latent_size, recipe.discriminator_widths)
        for network in (self.autoencoder, self.discriminator):
            network.apply(initialise).to(fabric.device)
        self.optimizer = self._adam(self.autoencoder)
        self.discriminator_optimizer = self._adam(self.discriminator)
        self.schedules = [
            CosineAnnealingLR(optimizer, total_steps, recipe.learning_rate * recipe.final_learning_rate_factor)
            for optimizer in (self.optimizer, self.discriminator_optimizer)
        ]
        self.noise = Noise(seed, fabric.device)

    def step(self, images: Tensor, _labels: Tensor | None = None) -> dict[str, Tensor]:
        """Update on this process's part of a batch of `images` [N, 1, 32, 32] in [-1, 1]; return detached losses."""
        self.autoencoder.train()
        shown, weights = self._shown(images)
        with self.fabric.autocast():
            x_hat, z, z_hat = self.autoencoder(shown)
            if self.recipe.outlier_share:
                z = self.autoencoder.encoder(images)
            errors = objectives.l_con(images, x_hat)
            losses = {"l_con": errors.mean(), "l_lat": objectives.latent(z, z_hat).mean()}
        if self.recipe.outlier_share:
            losses["l_restore"] = (errors * weights).mean()
        if self.recipe.adversarial_weight:
            losses["l_dis"] = self._discriminator_step(z.detach())
            losses["l_adv"] = objectives.adversarial_generator(self.discriminator(z.float()))
        loss = self.recipe.contextual_weight * losses["l_con"] + self.recipe.latent_weight * losses["l_lat"]
        if self.recipe.adversarial_weight:
            loss = loss + self.recipe.adversarial_weight * losses["l_adv"]
        self._update(self.autoencoder, self.optimizer, loss)
        self.schedules[0].step()
        return {name: average(value.detach()) for name, value in {"loss": loss, **losses}.items()}

    @torch.no_grad()
    def validate(self, images: Tensor, _labels: Tensor | None = None) -> dict[str, float]:
        """Return mean losses on held-out normal `images` [N, 1, 32, 32]; TrainingError if reconstructions collapsed.

        `diversity` is the spread of the reconstructions over the batch, divided by the spread of the images: 0 if every
        image gets the same reconstruction.
        """
        self.autoencoder.eval()
        x_hat, z, z_hat = self.autoencoder(images)
        diversity = (x_hat.std(dim=0).mean() / images.std(dim=0).mean().clamp_min(1e-6)).item()
        steps = self.schedules[0].last_epoch
        if diversity < COLLAPSE_DIVERSITY and steps >= min(PATIENCE_STEPS, self.total_steps):
            raise TrainingError(
                f"training: expected reconstructions that differ, got one for all (diversity {diversity:.3f}) after "
                f"{steps} steps; raise --set epochs, lower --set learning_rate or change --seed"
            )
        return {
            "val_l_con": objectives.l_con(images, x_hat).mean().item(),
            "val_l_lat": objectives.latent(z, z_hat).mean().item(),
            "val_diversity": diversity,
        }

    @torch.no_grad()
    def pictures(self, images: Tensor) -> dict[str, Tensor]:
        """Return "reconstructions": a row of `images` above a row of what becomes of them, [2, N, 1, 32, 32]."""
        self.autoencoder.eval()
        return {"reconstructions": torch.stack([images, self.autoencoder(images)[0]])}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _shown(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the encoder sees of `images` [N, ...], and weights [N]: the mean of weights * errors is over outliers.

        Outliers are made from the first images of the global batch, since some kinds mix several images.
        """
        every = whole(images)
        count = math.ceil(self.recipe.outlier_share * len(every))
        if not count:
            return images, torch.zeros(len(images), device=images.device)
        made = outliers((every[:count] + 1) / 2, self.noise.generator)
        shown, weights = every.clone(), torch.zeros(len(every), device=every.device)
        shown[made.sources], weights[:count] = made.light * 2 - 1, len(every) / count
        return own_part(shown), own_part(weights)

    def _discriminator_step(self, z: Tensor) -> Tensor:
        prior = self.noise.normal(*z.shape)
        loss = objectives.adversarial_discriminator(self.discriminator(prior), self.discriminator(z.float()))
        self._update(self.discriminator, self.discriminator_optimizer, loss)
        self.schedules[1].step()
        return loss

    def _update(self, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward(inputs=list(network.parameters()))
        average_gradients(network.parameters())
        optimizer.step()

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(network.parameters(), self.recipe.learning_rate, self.recipe.betas)

    def _parts(self) -> dict[str, Any]:
        return {
            "autoencoder": self.autoencoder,
            "discriminator": self.discriminator,
            "optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "schedule": self.schedules[0],
            "discriminator_schedule": self.schedules[1],
            "noise": self.noise,
        }
