"""What a run shows and keeps while it goes on: progress bar, TensorBoard events, curves, pictures, checkpoints."""

import logging
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from training import plots
from training.run.folder import Run

Line = dict[str, float]

DRAW_SECONDS = 10.0  # between two drawings: a picture may take longer than a short epoch

log = logging.getLogger(__name__)


class Journal:
    """Logs and checkpoints of one phase of a run. Without a run, and in all processes but the first, it does nothing.

    `history` holds one line of figures per finished epoch. `seconds` is the training time before this process, and `steps`
    the number of steps in all.
    """

    def __init__(self, run: Run | None, fabric: Fabric, history: list[Line], seconds: float, steps: int) -> None:
        self.history = list(history)
        self._run = run if fabric.is_global_zero else None
        self._started = time.monotonic() - seconds
        self._drawn, self._steps = -math.inf, steps
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=self._run is None,
        )
        done = int(history[-1]["step"]) if history else 0
        self._task = self._progress.add_task(run.phase if run else "", total=steps, completed=done)
        self._events = SummaryWriter(self._run.events, purge_step=done) if self._run else None

    def advance(self) -> None:
        """Count one step."""
        self._progress.advance(self._task)

    def write(self, line: Line, state: dict[str, Any], pictures: Callable[[], dict[str, Tensor]]) -> None:
        """Add an epoch's `line`, save the learner's `state` so that the run can resume from here, then draw `pictures`.

        Drawings are at least DRAW_SECONDS apart, but the last epoch is always drawn. A fault in drawing loses the picture,
        and neither the epoch nor the training.
        """
        self.history.append(line)
        if self._run is None or self._events is None:
            return
        seconds = time.monotonic() - self._started
        self._run.save({"seconds": seconds, "history": self.history, "learner": state})
        figures = {name: value for name, value in line.items() if name not in ("epoch", "step")}
        text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        for name, value in figures.items():
            self._events.add_scalar(name, value, int(line["step"]))
        self._progress.console.print(f"{self._run.phase} epoch {line['epoch']:.0f}  {text}")
        is_last = int(line["step"]) >= self._steps
        if time.monotonic() - self._drawn < DRAW_SECONDS and not is_last:
            return
        self._drawn = time.monotonic()
        try:
            self._draw(self._run, pictures(), int(line["step"]))
        except Exception:
            log.warning("run %s: a picture could not be drawn; the checkpoint is kept", self._run.path, exc_info=True)

    def _draw(self, run: Run, pictures: dict[str, Tensor], step: int) -> None:
        assert self._events is not None
        plots.curves(self.history, run.curves)
        for name, picture in pictures.items():
            pixels = plots.tile(picture)
            plots.save(pixels, run.path / f"{name}.png")
            self._events.add_image(name, pixels, step, dataformats="HWC" if pixels.ndim == 3 else "HW")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._events is not None:
            self._events.close()
