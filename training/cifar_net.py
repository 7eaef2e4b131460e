"""A small, fast CIFAR-10 classifier, after airbench94 (Jordan, arXiv:2404.00498): it judges what generators draw."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from training.layers import EVALUATION_BATCH, BatchNorm2d, crop
from training.parallel import Noise, average, average_gradients
from training.recipes import ClassifierRecipe

WHITENING_IMAGES = 5000
WHITENING_EPSILON = 5e-4
LOOKAHEAD_STEPS = 5
LOOKAHEAD_DECAY = 0.95**LOOKAHEAD_STEPS


class CifarNet(nn.Module):
    """Images [N, 3, 32, 32] in [-1, 1] to features [N, widths[-1]] and logits [N, classes].

    The first layer is fixed by `whiten`; three groups of two convolutions each follow. In evaluation mode the features
    are the mean over the image and its mirror image.
    """

    def __init__(self, widths: Sequence[int], classes: int, logit_scale: float) -> None:
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)
        self.whitening.weight.requires_grad_(False)
        inputs = (24, *widths)
        groups = [_group(before, after) for before, after in zip(inputs, widths, strict=False)]
        self.body = nn.Sequential(self.whitening, nn.GELU(), *groups, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(widths[-1], classes, bias=False)
        self.logit_scale = logit_scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits of images `x`."""
        features: Tensor = self.body(x)
        if not self.training:
            features = (features + self.body(x.flip(3))) / 2
        return features, self.logit_scale * self.head(features)

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Set the first layer to the principal axes of the 2x2 patches of `images`, scaled to variance 1, both signs."""
        patches = functional.unfold(images, 2).transpose(1, 2).flatten(0, 1)  # [N, 12]
        variances, axes = torch.linalg.eigh(torch.cov(patches.T))
        filters = (axes / (variances + WHITENING_EPSILON).sqrt()).T.reshape(-1, 3, 2, 2)
        self.whitening.weight.copy_(torch.cat([filters, -filters]))
        assert self.whitening.bias is not None
        self.whitening.bias.copy_(-(self.whitening.weight.flatten(1) @ patches.mean(dim=0)))


class CifarNetLearner:
    """One training step, validation and state of a classifier recipe.

    `images` [N, 3, 32, 32] in [-1, 1] are training images. Their patches set the first layer.
    """

    def __init__(
        self, recipe: ClassifierRecipe, fabric: Fabric, total_steps: int, seed: int, classes: int, images: Tensor
    ) -> None:
        torch.manual_seed(seed)
        self.recipe = recipe
        self.fabric = fabric
        self.total_steps = total_steps
        self.network = CifarNet(recipe.widths, classes, recipe.logit_scale)
        self.network.whiten(images[:WHITENING_IMAGES].cpu())
        self.network.to(fabric.device).to(memory_format=torch.channels_last)
        self.slow = {name: value.clone() for name, value in self._floats()}
        self.optimizer = self._sgd()
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._learning_rate_factor)
        self.noise = Noise(seed, fabric.device)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Update on this process's part of a batch, `images` [N, 3, 32, 32] and `labels` [N]; return detached losses."""
        self.network.train()
        with self.fabric.autocast():
            _, logits = self.network(self._augment(images))
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        average_gradients(self.network.parameters())
        self.optimizer.step()
        self.schedule.step()
        self._look_ahead(self.schedule.last_epoch)
        return {"loss": average(loss.detach()), "accuracy": average(_accuracy(logits, labels))}

    @torch.no_grad()
    def validate(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Return loss and accuracy on held-out `images` [N, 3, 32, 32] with `labels` [N]."""
        self.network.eval()
        logits = torch.cat([self.network(part)[1] for part in images.split(EVALUATION_BATCH)])
        return {
            "val_loss": functional.cross_entropy(logits, labels).item(),
            "val_accuracy": _accuracy(logits, labels).item(),
        }

    @torch.no_grad()
    def pictures(self, images: Tensor) -> dict[str, Tensor]:
        """Return `images` [N, 3, 32, 32] ordered by the probability of the network's first choice, highest first."""
        self.network.eval()
        certainty = self.network(images)[1].softmax(dim=1).amax(dim=1)
        return {"certainty": images[certainty.argsort(descending=True)][None]}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {**parts, "slow": self.slow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name, value in state["slow"].items():
            self.slow[name].copy_(value)

    def _augment(self, images: Tensor) -> Tensor:
        """Return `images`, each mirrored or not and moved by up to `translation` pixels, in channels-last order."""
        move = self.recipe.translation
        padded = functional.pad(images, (move,) * 4, mode="reflect")
        down, right, mirrored = (self.noise.integers(len(images), highest) for highest in (2 * move, 2 * move, 1))
        return crop(padded, down, right, images.shape[3], mirrored == 1)

    @torch.no_grad()
    def _look_ahead(self, step: int) -> None:
        """Pull the weights towards their slow average every few steps, more so towards the end (arXiv:1907.08610)."""
        last = step == self.total_steps
        if step % LOOKAHEAD_STEPS and not last:
            return
        decay = 1.0 if last else LOOKAHEAD_DECAY * (step / self.total_steps) ** 3
        for name, value in self._floats():
            self.slow[name].lerp_(value, 1 - decay)
            value.copy_(self.slow[name])

    def _floats(self) -> list[tuple[str, Tensor]]:
        state = self.network.state_dict()
        return [(name, value) for name, value in state.items() if value.is_floating_point()]

    def _sgd(self) -> torch.optim.SGD:
        recipe = self.recipe
        trained = [(name, value) for name, value in self.network.named_parameters() if value.requires_grad]
        shifts = [value for name, value in trained if name.endswith("bias") and "whitening" not in name]
        weights = [value for name, value in trained if not name.endswith("bias") or "whitening" in name]
        faster = recipe.bias_learning_rate_factor
        groups = [
            {"params": weights, "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
            {"params": shifts, "lr": recipe.learning_rate * faster, "weight_decay": recipe.weight_decay / faster},
        ]
        return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=True)

    def _learning_rate_factor(self, step: int) -> float:
        """Return the factor at `step`: it rises from 0.2 to 1 at the recipe's peak, then falls to 0.07."""
        done = min(step / self.total_steps, 1.0)
        peak = self.recipe.peak
        if done < peak:
            return 0.2 + 0.8 * done / peak
        return 0.07 + 0.93 * (1 - done) / (1 - peak)

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule, "noise": self.noise}


def _group(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.MaxPool2d(2),
        _norm(outputs),
        nn.GELU(),
        _convolution(outputs, outputs),
        _norm(outputs),
        nn.GELU(),
    )


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution whose first filters pass their input on, so that early signals reach the end."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding="same", bias=False)
    nn.init.dirac_(convolution.weight[:inputs])
    return convolution


def _norm(channels: int) -> BatchNorm2d:
    norm = BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == labels).float().mean()
