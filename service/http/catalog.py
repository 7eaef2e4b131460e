"""The models that are served: all verified and loaded at start-up, then found by name."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from service.errors import ArtifactError, UnknownModelError
from service.http.queues import Batcher, Turnstile
from service.images import Pixels
from service.published import artifact, defaults, group
from service.published.detector import Detector, Scores
from service.published.generator import Generator
from service.published.group import Group
from service.published.manifest import Manifest, Metric
from service.published.onnx_model import Device


@dataclass(frozen=True)
class ServedDetector:
    """A detector, or a group of them, with the queues in front of it."""

    class_names: ClassVar[tuple[str, ...]] = ()  # none can be asked for
    kind: ClassVar[Literal["detector"]] = "detector"
    detector: Detector | Group
    metrics: list[Metric]
    score: Batcher[Scores]
    compare: Batcher[Pixels]  # each image beside its reconstruction and its heat map, [N, 3, H, W]

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of the published model; a group has none."""
        return None if isinstance(self.detector, Group) else self.detector.manifest

    @property
    def name(self) -> str:
        """The name of the published model, or of the group."""
        return self.detector.name

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images."""
        return self.detector.image_size

    @property
    def calibration_size(self) -> int:
        """Number of held-out normal images behind the p-values, the least of a group's."""
        return self.detector.calibration_size

    @property
    def normal_classes(self) -> tuple[str, ...]:
        """What the detector was taught is normal."""
        return self.detector.class_names if isinstance(self.detector, Group) else self.detector.manifest.normal_classes

    @property
    def summary(self) -> str:
        """What the detector does, in one line."""
        if isinstance(self.detector, Group):
            return f"which of {', '.join(self.normal_classes)}, if any, an image looks like"
        return self.detector.manifest.summary

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the detectors in a group."""
        group = self.detector.detectors if isinstance(self.detector, Group) else ()
        return tuple(member.name for member in group)


@dataclass(frozen=True)
class ServedGenerator:
    """A generator with the turnstile in front of it."""

    kind: ClassVar[Literal["generator"]] = "generator"
    calibration_size: ClassVar[None] = None
    normal_classes: ClassVar[tuple[str, ...]] = ()
    members: ClassVar[tuple[str, ...]] = ()
    generator: Generator
    metrics: list[Metric]
    turnstile: Turnstile

    @property
    def manifest(self) -> Manifest:
        """The manifest of the published model."""
        return self.generator.manifest

    @property
    def name(self) -> str:
        """The name of the published model."""
        return self.manifest.name

    @property
    def summary(self) -> str:
        """What the generator does, in one line."""
        return self.manifest.summary

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images."""
        return self.manifest.image_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that can be asked for."""
        return self.generator.class_names


Served = TypeVar("Served")


class Catalog:
    """All served models by name; ArtifactError if one of them does not prove itself, or if there is none.

    Detectors share one thread and generators another: a long sampling run delays no score, and each session is
    called by one thread at a time, with `threads` threads of its own.
    """

    def __init__(self, models_dir: Path, device: Device, threads: int) -> None:
        artifacts = [artifact.load(path) for path in artifact.find(models_dir)]
        if not artifacts:
            raise ArtifactError(f"{models_dir}: expected at least one published model, found none; publish one")
        scoring, sampling = ThreadPoolExecutor(1, "score"), ThreadPoolExecutor(1, "sample")
        detectors = [
            Detector(published, device, threads) for published in artifacts if published.manifest.kind == "detector"
        ]
        metrics = {published.manifest.name: published.metrics() for published in artifacts}
        known: dict[str, Detector | Group] = {each.name: each for each in detectors}
        for each in group.of(detectors):
            known.setdefault(each.name, each)
        self.detectors = {name: _serve_detector(each, metrics.get(name, []), scoring) for name, each in known.items()}
        self.generators = {
            published.manifest.name: ServedGenerator(
                Generator(published, device, threads), published.metrics(), Turnstile(sampling)
            )
            for published in artifacts
            if published.manifest.kind == "generator"
        }

    def detector(self, name: str | None) -> ServedDetector:
        """Return the detector called `name`, or the default one; UnknownModelError if there is none."""
        manifests = [served.manifest for served in self.detectors.values() if served.manifest is not None]
        return _named(self.detectors, name or defaults.model_name("detector", manifests), "detector")

    def generator(self, name: str | None) -> ServedGenerator:
        """Return the generator called `name`, or the default one; UnknownModelError if there is none."""
        manifests = [served.manifest for served in self.generators.values()]
        return _named(self.generators, name or defaults.model_name("generator", manifests), "generator")

    def model(self, name: str) -> ServedDetector | ServedGenerator:
        """Return the model called `name`, of whatever kind; UnknownModelError if there is none."""
        return _named(self.models, name, "model")

    @property
    def models(self) -> dict[str, ServedDetector | ServedGenerator]:
        """All models by name, detectors first."""
        return {**self.detectors, **self.generators}


def _serve_detector(detector: Detector | Group, metrics: list[Metric], executor: ThreadPoolExecutor) -> ServedDetector:
    return ServedDetector(detector, metrics, Batcher(detector.score, executor), Batcher(detector.compare, executor))


def _named(known: Mapping[str, Served], name: str, kind: str) -> Served:
    if name not in known:
        names = ", ".join(known) or "none, for none is served"
        raise UnknownModelError(f"{kind} {name!r}: expected one of: {names}; see GET /models")
    return known[name]
