"""Models by name, as commands are given them."""

from pathlib import Path
from typing import Literal

from service.published import artifact, defaults, group
from service.published.artifact import Artifact
from service.published.detector import Detector
from service.published.group import Group
from service.published.onnx_model import Device


def load(name: str | None, kind: Literal["detector", "generator"], models_dir: Path) -> Artifact:
    """Return the model `name` of a folder, or its default one of this `kind` for None; ArtifactError if there is none."""
    manifests = map(artifact.read_manifest, artifact.find(models_dir))
    return artifact.load_named(models_dir, name or defaults.model_name(kind, manifests))


def load_detector(name: str | None, models_dir: Path, device: Device, threads: int) -> Detector | Group:
    """Return the detector or group `name` of a folder, or its default detector for None; ArtifactError if there is none."""
    paths = artifact.find(models_dir)
    groups = group.members(map(artifact.read_manifest, paths))
    if name not in groups or name in {path.name for path in paths}:
        return Detector(load(name, "detector", models_dir), device, threads)
    return Group(name, [Detector(artifact.load(models_dir / member), device, threads) for member in groups[name]])
