"""The one training loop, fit(). It logs, checkpoints, resumes and stops on NaN. It knows no model."""

import math
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor

from training.data import Examples
from training.errors import TrainingError
from training.parallel import own_part
from training.run.folder import Run
from training.run.journal import Journal, Line


class Learner(Protocol):
    """What the loop and its journal need of a model. Inputs are images, float [N, C, H, W] in [-1, 1], or features [N, F]."""

    def step(self, inputs: Tensor, labels: Tensor, /) -> dict[str, Tensor]:
        """Update on one batch and return its figures, detached and without waiting for the device.

        Every figure is a mean over the global batch. A step may leave a figure out.
        """
        ...

    def validate(self, inputs: Tensor, labels: Tensor, /) -> dict[str, float]:
        """Return figures on held-out inputs; TrainingError if the training has collapsed."""
        ...

    def pictures(self, inputs: Tensor, /) -> dict[str, Tensor]:
        """Return pictures by name, each as images [rows, columns, C, H, W]; they may show `inputs`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Continue from what `state_dict` returned."""
        ...


def fit(
    learner: Learner,
    examples: Examples,
    held_out: Examples,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    run: Run | None,
    fabric: Fabric,
) -> None:
    """Train `learner` on `examples` and watch it on `held_out`.

    Both stay on the device. The order of examples depends on (seed, epoch) only. An incomplete last batch is left out.
    After every epoch `run` holds a checkpoint from which the training continues with the same numbers. If `run` holds one
    at the start, training continues from it. Without a `run` nothing is kept or shown.
    """
    examples, held_out = examples.to(fabric.device), held_out.to(fabric.device)
    watched, steps = held_out.network_inputs(), len(examples) // batch_size
    checkpoint = (run.checkpoint() if run else None) or {"seconds": 0.0, "history": []}
    if "learner" in checkpoint:
        learner.load_state_dict(checkpoint["learner"])
    with Journal(run, fabric, checkpoint["history"], checkpoint["seconds"], epochs * steps) as journal:
        for epoch in range(len(journal.history), epochs):
            figures: dict[str, list[Tensor]] = {}
            order = _order(len(examples), seed, epoch)[: steps * batch_size].to(fabric.device)
            for batch in order.view(steps, batch_size):
                part = examples[own_part(batch)]
                for name, value in learner.step(part.network_inputs(), part.labels).items():
                    figures.setdefault(name, []).append(value)
                journal.advance()
            means = {name: torch.stack(values).mean().item() for name, values in figures.items()}
            _require_finite(means, epoch)
            seen = learner.validate(watched, held_out.labels)
            line = {"epoch": epoch + 1, "step": (epoch + 1) * steps, **means, **seen}
            journal.write(line, learner.state_dict(), lambda: learner.pictures(watched[:16]))


def _order(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 100_003 + epoch))


def _require_finite(means: Line, epoch: int) -> None:
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise TrainingError(
            f"epoch {epoch + 1}: expected finite losses, got {bad[0]} = {means[bad[0]]}; lower the learning rate by --set; "
            "the checkpoint of the epoch before is kept"
        )
