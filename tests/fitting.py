"""The command lines of a toy training on a user's own data set."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
TINY = ("widths=4,8,8", "latent_size=8", "epochs=6", "batch_size=8", "learning_rate=0.005")


def fit_arguments(data: Path, out: Path, *options: str) -> list[str]:
    settings = [part for change in TINY for part in ("--set", change)]
    arguments = ["--normal-class", "low", "--data", str(data), "--device", "cpu", "--out", str(out)]
    return ["fit", "shared-aae", *arguments, *settings, *options]


def fit_command(data: Path, out: Path, *options: str, processes: int = 1) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, "-m", "training.cli", *fit_arguments(data, out, *options)]
