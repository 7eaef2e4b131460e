"""The outlier classifiers' learner: one for every fold of the normal images and one for all, trained side by side."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from training.density.model import CLASSES, OutlierClassifier, log_odds
from training.parallel import Noise, average, average_gradients
from training.recipes import DensityRecipe

DROPOUT = 0.3  # of the first hidden layer


class OutlierLearner:
    """One training step, validation and state of `folds` + 1 classifiers of whitened features.

    Classifier k sees all examples except fold k, so it judges fold k as it would judge new images. The last classifier sees
    all examples, and is kept. Labels [N] are fold * CLASSES + class; class 0 is normal. Normal images and outliers have the
    same total weight: `balance` is the number of outliers for each normal image.
    """

    def __init__(
        self,
        recipe: DensityRecipe,
        fabric: Fabric,
        total_steps: int,
        seed: int,
        whitened: int,
        folds: int,
        balance: float,
    ) -> None:
        self.folds = folds
        self.networks = SideBySide((whitened, *recipe.hidden, CLASSES), folds + 1, seed).to(fabric.device)
        self.optimizer = torch.optim.AdamW(self.networks.parameters(), weight_decay=0.01)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, recipe.learning_rate, total_steps)
        self.noise = Noise(seed, fabric.device)
        self.class_weights = torch.ones(CLASSES, device=fabric.device)
        self.class_weights[0] = balance

    def step(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Update on this process's part of a batch: whitened features [N, W] with labels [N]; return the mean loss."""
        width = self.networks.weights[0].shape[2]
        kept = self.noise.uniform(len(inputs), self.folds + 1, width).movedim(1, 0) >= DROPOUT
        losses = self._losses(self.networks(inputs, kept / (1 - DROPOUT)), labels)  # [networks, N]
        seen = self._seen(labels) * self.class_weights[labels % CLASSES]
        loss = ((losses * seen).sum(dim=1) / seen.sum(dim=1).clamp_min(1)).sum()
        self.optimizer.zero_grad()
        loss.backward()
        average_gradients(self.networks.parameters())
        self.optimizer.step()
        self.schedule.step()
        return {"l_outlier": average(loss.detach()) / (self.folds + 1)}

    @torch.no_grad()
    def validate(self, inputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Return loss and AUROC on examples, each by the classifier that has not seen the example's fold.

        `val_told` is the AUROC of the log odds, normal images against outliers.
        """
        logits = self._unseen(inputs, labels)
        classes = labels % CLASSES
        odds, normal = log_odds(logits), classes == 0
        pairs = odds[~normal][:, None] > odds[normal]
        loss = functional.cross_entropy(logits, classes, weight=self.class_weights)
        return {"val_l_outlier": loss.item(), "val_told": pairs.float().mean().item()}

    def pictures(self, _images: Tensor) -> dict[str, Tensor]:
        """Return no pictures: features have none."""
        return {}

    @torch.no_grad()
    def out_of_fold(self, inputs: Tensor, folds: Tensor) -> Tensor:
        """Return the log odds [N] of whitened features [N, W], each by the classifier that has not seen its fold [N]."""
        return log_odds(self._unseen(inputs, folds * CLASSES))

    @torch.no_grad()
    def finish(self, classifier: OutlierClassifier) -> None:
        """Give `classifier` the weights of the network that has seen all folds, rounded to float16 as files store them."""
        linear = [layer for layer in classifier.layers if isinstance(layer, nn.Linear)]
        for layer, weight, bias in zip(linear, self.networks.weights, self.networks.biases, strict=True):
            layer.weight.copy_(weight[-1].T.half())
            layer.bias.copy_(bias[-1, 0].half())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _unseen(self, inputs: Tensor, labels: Tensor) -> Tensor:
        rows = torch.arange(len(inputs), device=inputs.device)
        logits: Tensor = self.networks(inputs)[labels // CLASSES, rows]
        return logits

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = (labels % CLASSES).expand(self.folds + 1, -1)
        return functional.cross_entropy(logits.movedim(2, 1), classes, reduction="none")

    def _seen(self, labels: Tensor) -> Tensor:
        networks = torch.arange(self.folds + 1, device=labels.device)
        return (labels // CLASSES != networks[:, None]).float()

    def _parts(self) -> dict[str, Any]:
        return {
            "networks": self.networks,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "noise": self.noise,
        }


class SideBySide(nn.Module):
    """Several fully connected networks of the same `sizes` with ReLU between layers. All get the same inputs."""

    def __init__(self, sizes: Sequence[int], count: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def drawn(inputs: int, *shape: int) -> nn.Parameter:  # as nn.Linear does
            bound = inputs**-0.5
            return nn.Parameter(torch.rand(shape, generator=generator) * 2 * bound - bound)

        self.weights = nn.ParameterList(drawn(a, count, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(drawn(a, count, 1, b) for a, b in pairwise(sizes))

    def forward(self, inputs: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return outputs [networks, N, last size] of `inputs` [N, first size].

        The first hidden layer is multiplied by `kept` [networks, N, its size], which is dropout.
        """
        hidden = inputs.expand(len(self.weights[0]), -1, -1)
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if k:
                hidden = hidden.relu()
            if k == 1 and kept is not None:
                hidden = hidden * kept
            hidden = torch.baddbmm(bias, hidden, weight)
        return hidden
