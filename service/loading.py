"""The model that a user names on the command line, loaded; and what a misspelt name may have meant."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from service.published import artifact, defaults, group
from service.published.artifact import Artifact
from service.published.detector import Detector
from service.published.group import Group
from service.published.manifest import Manifest
from service.published.onnx_model import Device


def load(name: str | None, kind: Literal["detector", "generator"], models_dir: Path) -> Artifact:
    """Return the model `name`, or the default model of its `kind` for None; UnknownModelError names those of this kind."""
    manifests = _manifests(models_dir)
    offered = [manifest.name for manifest in manifests if manifest.kind == kind]
    return artifact.load_named(models_dir, name or defaults.model_name(kind, manifests), offered)


def load_detector(name: str | None, models_dir: Path, device: Device, threads: int) -> Detector | Group:
    """Return the detector or the group `name`, the default detector for None; UnknownModelError names all of both."""
    manifests = _manifests(models_dir)
    groups = group.members(manifests)
    if name in groups and name not in {manifest.name for manifest in manifests}:
        members = (artifact.load(models_dir / member) for member in groups[name])
        return Group(name, [Detector(member, device, threads) for member in members])
    offered = [*groups, *(manifest.name for manifest in manifests if manifest.kind == "detector")]
    named = name or defaults.model_name("detector", manifests)
    return Detector(artifact.load_named(models_dir, named, offered), device, threads)


def complete(incomplete: str) -> Iterator[str]:
    """Yield the names of published models, and of groups, that begin with `incomplete`, for a shell."""
    folder = defaults.models_dir()
    manifests = _manifests(folder) if folder.is_dir() else []
    names = [*group.members(manifests), *(manifest.name for manifest in manifests)]
    yield from (name for name in names if name.startswith(incomplete))


def _manifests(models_dir: Path) -> list[Manifest]:
    return [artifact.read_manifest(path) for path in artifact.find(models_dir)]
