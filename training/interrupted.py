"""What a person is told who interrupts a training; free of torch, as the command is until a training begins."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

stderr = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def interruptible(run: Path) -> Iterator[None]:
    """Let a block train in the folder `run`. If it is interrupted, say what is kept and how to go on; then end as always.

    with interruptible(Path("runs/shared-aae-mnist-0-s0")):
        train(job, path)
    """
    try:
        yield
    except KeyboardInterrupt:
        kept = run.exists() and any(run.iterdir())
        told = (
            f"{run} keeps every finished epoch; repeat the command with --resume to go on"
            if kept
            else "nothing was begun"
        )
        stderr.print(f"oddglyph-train: interrupted; {told}")
        raise
