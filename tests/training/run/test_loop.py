from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from training.data import Examples
from training.errors import TrainingError
from training.fit import make_fabric
from training.run.folder import Run
from training.run.loop import fit

FABRIC = make_fabric("cpu")


class Counter:
    """A learner that remembers what it was given."""

    def __init__(self, loss: float = 1.0) -> None:
        self.loss, self.seen, self.shapes = loss, [], set()

    def step(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        self.seen += labels.tolist()
        self.shapes.add(tuple(inputs.shape[1:]))
        return {"loss": torch.tensor(self.loss)}

    def validate(self, inputs: Tensor, _labels: Tensor) -> dict[str, float]:
        return {"val_loss": float(len(inputs))}

    def pictures(self, _inputs: Tensor) -> dict[str, Tensor]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = list(state["seen"])


def run(learner: Counter, epochs: int, path: Path | None = None, inputs: Tensor | None = None) -> Counter:
    examples = Examples(torch.zeros(10, 4) if inputs is None else inputs, torch.arange(10))
    folder = None if path is None else Run(path)
    fit(learner, examples, examples, epochs=epochs, batch_size=4, seed=3, run=folder, fabric=FABRIC)
    return learner


def test_every_epoch_has_another_order_and_leaves_an_incomplete_batch_out():
    seen = run(Counter(), 3).seen
    epochs = [seen[start : start + 8] for start in (0, 8, 16)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert seen == run(Counter(), 3).seen


def test_features_come_as_they_are_and_pixels_as_images():
    assert run(Counter(), 1).shapes == {(4,)}
    assert run(Counter(), 1, inputs=torch.zeros(10, 8, 8, dtype=torch.uint8)).shapes == {(1, 8, 8)}
    assert run(Counter(), 1, inputs=torch.zeros(10, 8, 8, 3, dtype=torch.uint8)).shapes == {(3, 8, 8)}


def test_a_run_goes_on_where_it_was(tmp_path: Path):
    run(Counter(), 2, tmp_path)
    resumed = run(Counter(), 3, tmp_path)
    assert resumed.seen == run(Counter(), 3).seen


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_epoch_before(tmp_path: Path):
    run(Counter(), 1, tmp_path)
    with pytest.raises(TrainingError, match="epoch 2: expected finite losses, got loss = nan"):
        run(Counter(float("nan")), 2, tmp_path)
    contents = Run(tmp_path).checkpoint()
    assert contents is not None
    assert len(contents["history"]) == 1
