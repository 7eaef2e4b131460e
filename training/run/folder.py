"""The run folder: request, checkpoints, logs and pictures of one training, written atomically."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from service.atomic import replacing
from service.published.artifact import CURVES
from training.errors import RunError

REQUEST = "run.json"
FITTED = "fitted.pt"
TRAINING, DENSITY = "training", "density"  # the phases of a run; only detectors have the second


class Request(BaseModel):
    """What a run was asked to do, with the whole resolved recipe: enough to repeat the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: dict[str, Any]
    data: str
    data_sha256: str
    groups: str | None = None
    groups_sha256: str | None = None  # runs from before version 0.2 lack it
    class_names: tuple[str, ...]
    normal_classes: tuple[str, ...]
    invert: bool
    seed: int
    device: str
    processes: int
    command: str
    commit: str
    created: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Run:
    """A run folder that exists, and one `phase` of the run. Each phase has its own checkpoints, figures and curves."""

    path: Path
    phase: str = TRAINING

    @property
    def density(self) -> "Run":
        """The phase in which a detector's density is fitted."""
        return Run(self.path, DENSITY)

    @property
    def curves(self) -> Path:
        """The picture of the figures over the epochs."""
        return self.path / (CURVES if self.phase == TRAINING else f"{self.phase}-{CURVES}")

    @property
    def events(self) -> Path:
        """The folder of TensorBoard events."""
        return self.path if self.phase == TRAINING else self.path / self.phase

    @property
    def _checkpoint(self) -> str:
        return "checkpoint.pt" if self.phase == TRAINING else f"{self.phase}.pt"

    def request(self) -> Request:
        """Return what the run was asked to do; RunError if the folder holds no valid run.json."""
        try:
            return Request.model_validate_json((self.path / REQUEST).read_bytes())
        except (OSError, ValidationError):
            raise RunError(
                f"{self.path}: expected a run folder with a valid {REQUEST}, found none; fit a recipe first"
            ) from None

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint's contents on the CPU, None before the first; RunError if it cannot be read."""
        return self._load(self._checkpoint)

    def fitted(self) -> dict[str, Any] | None:
        """Return what `save_fitted` was given, None before that; RunError if it cannot be read."""
        return self._load(FITTED)

    def save(self, contents: dict[str, Any]) -> None:
        """Replace the checkpoint by `contents`, and the lines of figures by their "history", each in one atomic step."""
        lines = "".join(json.dumps(line) + "\n" for line in contents["history"])
        with replacing(self.path / ("metrics.jsonl" if self.phase == TRAINING else f"{self.phase}.jsonl")) as path:
            path.write_text(lines)
        self._save(contents, self._checkpoint)

    def save_fitted(self, contents: dict[str, Any]) -> None:
        """Keep what was fitted after the last epoch and is no part of a learner's state."""
        self._save(contents, FITTED)

    def _save(self, contents: dict[str, Any], name: str) -> None:
        with replacing(self.path / name) as path:
            torch.save(contents, path)

    def _load(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            contents: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 - unpickling a damaged file may raise anything
            raise RunError(
                f"{path}: expected a checkpoint, got a damaged file ({type(error).__name__}); fit again"
            ) from None
        return contents


def create_run(path: Path, request: Request) -> Run:
    """Return a new run folder at `path`; RunError if there is one already."""
    if path.exists() and any(path.iterdir()):
        raise RunError(f"{path}: expected no such run yet, found one; add --resume to continue it or --out for another")
    path.mkdir(parents=True, exist_ok=True)
    with replacing(path / REQUEST) as temporary:
        temporary.write_text(request.model_dump_json(indent=2) + "\n")
    return Run(path)
