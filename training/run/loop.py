"""fit(): the one training loop. It logs, checkpoints, resumes and stops on NaN, and knows no model."""

import math
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor

from training.data import Split, to_images
from training.errors import TrainingError
from training.parallel import own_part
from training.run.folder import Run
from training.run.journal import Journal, Line, Stateful


class Learner(Stateful, Protocol):
    """What the loop needs of a model: images are float [N, C, H, W] in [-1, 1]."""

    def step(self, images: Tensor, labels: Tensor, /) -> dict[str, Tensor]:
        """Update on one batch and return its figures, detached and without waiting for the device.

        Every figure is a mean over the global batch; one that not every step has may be left out.
        """
        ...

    def validate(self, images: Tensor, labels: Tensor, /) -> dict[str, float]:
        """Return figures on held-out images; TrainingError if to go on is pointless."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...


def fit(
    learner: Learner,
    split: Split,
    held_out: Split,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    run: Run,
    fabric: Fabric,
) -> list[Line]:
    """Train `learner` on `split`, watch it on `held_out`, return one line of figures per epoch.

    Both stay on the device. The order of images depends on (seed, epoch) only; an incomplete last batch is left out.
    After every epoch the run folder holds all that is needed to continue with the same numbers, and a run folder that
    holds a checkpoint is continued.
    """
    pixels, labels = split.to(fabric.device)
    watched_pixels, watched_labels = held_out.to(fabric.device)
    watched = to_images(watched_pixels)
    steps = len(pixels) // batch_size
    checkpoint = run.checkpoint() or {"seconds": 0.0, "history": []}
    if "learner" in checkpoint:
        learner.load_state_dict(checkpoint["learner"])
    with Journal(run, fabric, checkpoint["history"], checkpoint["seconds"]) as journal:
        journal.begin(epochs, steps)
        for epoch in range(len(journal.history), epochs):
            figures: dict[str, list[Tensor]] = {}
            order = _order(len(pixels), seed, epoch)[: steps * batch_size].to(fabric.device)
            for batch in order.view(steps, batch_size):
                part = own_part(batch)
                for name, value in learner.step(to_images(pixels[part]), labels[part]).items():
                    figures.setdefault(name, []).append(value)
                journal.advance()
            means = {name: torch.stack(values).mean().item() for name, values in figures.items()}
            _require_finite(means, epoch)
            held_out_figures = learner.validate(watched, watched_labels)
            line = {"epoch": epoch + 1, "step": (epoch + 1) * steps, **means, **held_out_figures}
            journal.write(line, learner, watched[:16])
    return journal.history


def _order(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 100_003 + epoch))


def _require_finite(means: Line, epoch: int) -> None:
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise TrainingError(
            f"epoch {epoch + 1}: expected finite losses, got {bad[0]} = {means[bad[0]]}; lower the learning rate by --set; "
            "the checkpoint of the epoch before is kept"
        )
