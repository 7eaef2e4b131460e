"""What a person watches while a run goes on: progress bar, TensorBoard events, curves and pictures, checkpoints."""

import time
from types import TracebackType
from typing import Any, Protocol, Self

from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from training import plots
from training.run.folder import Run

Line = dict[str, float]


class Stateful(Protocol):
    """What the journal needs of a learner: images are float [N, C, H, W] in [-1, 1]."""

    def pictures(self, images: Tensor) -> dict[str, Tensor]:
        """Return by name pictures, each of images [rows, columns, C, H, W], to be made with or without `images`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        ...


class Journal:
    """Logs and checkpoints of one run; does nothing in processes other than the first.

    `history` holds one line of figures per finished epoch, `seconds` the training time of earlier sittings.
    """

    def __init__(self, run: Run, fabric: Fabric, history: list[Line], seconds: float) -> None:
        self.history = list(history)
        self._run = run
        self._writes = fabric.is_global_zero
        self._started = time.monotonic() - seconds
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._writes,
        )

    def begin(self, epochs: int, steps: int) -> None:
        """Say how many epochs of how many steps the whole run has."""
        done = len(self.history)
        self._task = self._progress.add_task("step", total=epochs * steps, completed=done * steps)
        if self._writes:
            self._events = SummaryWriter(self._run.path, purge_step=done * steps)

    def advance(self) -> None:
        """Count one step."""
        self._progress.advance(self._task)

    def write(self, line: Line, learner: Stateful, images: Tensor) -> None:
        """Add an epoch's `line` and make the run resumable from here; `images` are what pictures are made from."""
        self.history.append(line)
        figures = {name: value for name, value in line.items() if name not in ("epoch", "step")}
        name, value = next(iter(figures.items()))
        self._progress.update(self._task, description=f"{name} {value:.4f}  steps")
        text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self._progress.console.print(f"epoch {line['epoch']:.0f}  {text}") if self._writes else None
        if not self._writes:
            return
        for name, value in figures.items():
            self._events.add_scalar(name, value, int(line["step"]))
        plots.curves(self.history, self._run.path / "curves.png")
        for name, picture in learner.pictures(images).items():
            pixels = plots.tile(picture)
            plots.save(pixels, self._run.path / f"{name}.png")
            self._events.add_image(name, pixels, int(line["step"]), dataformats="HWC" if pixels.ndim == 3 else "HW")
        seconds = time.monotonic() - self._started
        self._run.save({"seconds": seconds, "history": self.history, "learner": learner.state_dict()})

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._writes:
            self._events.close()
