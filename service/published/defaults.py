"""The default folder of published models and the default models, for HTTP and both commands."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from service.published.manifest import Manifest

DETECTOR = "mnist-0"
GENERATOR = "cifar10-cond"


def models_dir() -> Path:
    """Return the folder of published models: ODDGLYPH_MODELS, else `models` beside the service package."""
    return Path(os.environ.get("ODDGLYPH_MODELS") or Path(__file__).parents[2] / "models")


def model_name(kind: Literal["detector", "generator"], manifests: Iterable[Manifest]) -> str:
    """Return the name of the default model of `kind`: DETECTOR or GENERATOR if `manifests` has it, else the first.

    Conditional generators come before others. If `manifests` has no model of this kind, the name is still DETECTOR or
    GENERATOR, for the error message.
    """
    preferred = DETECTOR if kind == "detector" else GENERATOR
    candidates = sorted((each for each in manifests if each.kind == kind), key=lambda each: not each.takes_labels)
    names = [manifest.name for manifest in candidates]
    return preferred if preferred in names or not names else names[0]
