"""The served models: verified and loaded when the service starts, then found by name."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
from fastapi import Depends, Request

from service.errors import ArtifactError, UnavailableError, UnknownModelError, one_of
from service.http import prometheus
from service.http.descriptions import ModelDetails, NormalImages
from service.http.normal import normal_images
from service.http.queues import Batcher, Turnstile
from service.images import Pixels
from service.published import artifact, defaults
from service.published.artifact import Artifact
from service.published.detector import Detector, Scores
from service.published.drift import DriftMonitor
from service.published.generator import Generator
from service.published.group import Group, groups_among
from service.published.guarantee import guarantee_of
from service.published.onnx_model import Device, UsedDevice, cuda_is_usable


@dataclass(frozen=True)
class ServedDetector:
    """A detector or a group, its queues, its watch for drift, and the answer of GET /models/{name}.

    A group has neither files nor normal images: its members have them.
    """

    detector: Detector | Group
    details: ModelDetails
    published: Artifact | None
    normal: NormalImages | None
    score: Batcher[Scores]
    compare: Batcher[Pixels]  # image, heat map and, if there is one, reconstruction, [N, 2 or 3, H, W]
    monitor: DriftMonitor

    def count(self, scores: Scores) -> None:
        """Count images that were scored for clients, and watch them for drift."""
        self.monitor.update(scores.p_value, scores.score)
        prometheus.SCORED.labels(self.details.name).inc(len(scores))
        prometheus.show_drift(self.details.name, self.monitor.drift)


@dataclass(frozen=True)
class ServedGenerator:
    """A generator, its queue, and the answer of GET /models/{name}."""

    generator: Generator
    details: ModelDetails
    published: Artifact
    turnstile: Turnstile


Served = TypeVar("Served")
KINDS: tuple[Literal["detector"], Literal["generator"]] = ("detector", "generator")


class Catalog:
    """The models `names` of the folder `models_dir`, or all its models if no name is given.

    All detectors share one thread and all generators another, so a long sampling run delays no score. One thread at a
    time calls a session, which itself uses `threads` threads. Raises ArtifactError if there is no model or one fails
    its checks, UnknownModelError for a name that is not there, DeviceError for a device that is not usable.

        catalog = Catalog(Path("models"), "cpu", threads=1)
        await catalog.detector("mnist-0").score(pixels)
    """

    def __init__(self, models_dir: Path, device: Device, threads: int, names: Sequence[str] = ()) -> None:
        names = sorted(names) or _all_names(models_dir)
        artifacts = [artifact.load_named(models_dir, name) for name in names]
        if not artifacts:
            raise ArtifactError(f"{models_dir}: expected at least one published model, found none; publish one")
        self._device = device
        scoring, sampling = ThreadPoolExecutor(1, "score"), ThreadPoolExecutor(1, "sample")
        manifests = [each.manifest for each in artifacts]
        self._defaults = {kind: defaults.model_name(kind, manifests) for kind in KINDS}
        self.detectors: dict[str, ServedDetector] = {}
        self.generators: dict[str, ServedGenerator] = {}
        for each in artifacts:
            name, kind, start = each.manifest.name, each.manifest.kind, time.perf_counter()
            if kind == "detector":
                detector = Detector(each, device, threads)
                self.detectors[name] = _serve(detector, self._details(each, detector.device), scoring, each)
            elif kind == "generator":
                generator = Generator(each, device, threads)
                self.generators[name] = ServedGenerator(
                    generator, self._details(each, generator.device), each, Turnstile(sampling)
                )
            prometheus.LOADING.labels(name).set(time.perf_counter() - start)
        single = [served.detector for served in self.detectors.values() if isinstance(served.detector, Detector)]
        for group in groups_among(single):
            self.detectors.setdefault(group.name, _serve(group, _group_details(group), scoring))

    def summary(self) -> str:
        """Return how many models are served on which device, and why a GPU that is there is not used."""
        devices = sorted({served.details.device for served in self.models.values()})
        summary = f"serving {len(self.models)} models on {' and '.join(devices)}"
        if self._device == "auto" and devices == ["cpu"] and cuda_is_usable():
            return f"{summary}: there is a GPU, but CUDA's libraries are missing; `pip install 'oddglyph[cuda]'`"
        return summary

    def detector(self, name: str | None) -> ServedDetector:
        """Return the detector or group `name`, the default detector for None; UnknownModelError if there is none."""
        return _find_served(self.detectors, name or self._defaults["detector"], "detector")

    def generator(self, name: str | None) -> ServedGenerator:
        """Return the generator `name`, the default generator for None; UnknownModelError if there is none."""
        return _find_served(self.generators, name or self._defaults["generator"], "generator")

    def model(self, name: str) -> ServedDetector | ServedGenerator:
        """Return the model `name` of either kind; UnknownModelError if there is none."""
        return _find_served(self.models, name, "model")

    @property
    def models(self) -> dict[str, ServedDetector | ServedGenerator]:
        """All models by name, detectors first."""
        return {**self.detectors, **self.generators}

    def _details(self, published: Artifact, device: UsedDevice) -> ModelDetails:
        manifest = published.manifest
        is_detector = manifest.kind == "detector"
        guarantee = guarantee_of(published) if is_detector else None
        return ModelDetails(
            name=manifest.name,
            kind="detector" if is_detector else "generator",
            summary=manifest.summary,
            image_size=manifest.image_size,
            is_default=manifest.name in self._defaults.values(),
            normal_classes=list(manifest.normal_classes),
            members=[],
            class_names=list(manifest.class_names) if manifest.takes_labels else [],
            device=device,
            calibration_size=guarantee and guarantee.images,
            smallest_p_value=guarantee and guarantee.smallest_p_value,
            guarantee=guarantee,
            reconstructs=manifest.reconstructs,
            metrics=published.metrics(),
            recipe=manifest.recipe,
            provenance=manifest.provenance,
            pictures=[name for name in manifest.files if name.endswith(".png")],
        )


async def served_by(request: Request) -> Catalog:
    """Return the catalog of the application that a request is for; UnavailableError while it has none."""
    catalog: Catalog | None = request.app.state.catalog
    if catalog is None:
        raise UnavailableError("service: its models could not be loaded; its log says why, come back later")
    return catalog


Models = Annotated[Catalog, Depends(served_by)]


def _all_names(models_dir: Path) -> list[str]:
    names = [path.name for path in artifact.find(models_dir)]
    if incomplete := artifact.incomplete(models_dir):
        raise ArtifactError(
            f"{incomplete[0]}: expected {artifact.MANIFEST} beside the graphs, found none; publish the model again or "
            "move the folder away"
        )
    return names


def _group_details(group: Group) -> ModelDetails:
    return ModelDetails(
        name=group.name,
        kind="detector",
        summary=f"says which of {', '.join(group.class_names)}, if any, an image looks like",
        image_size=group.image_size,
        is_default=False,
        normal_classes=list(group.class_names),
        members=[member.name for member in group.detectors],
        class_names=[],
        device=group.device,
        calibration_size=group.calibration_size,
        smallest_p_value=1 / (group.calibration_size + 1),
        guarantee=None,
        reconstructs=group.reconstructs,
        metrics=[],
        recipe=None,
        provenance=None,
        pictures=[],
    )


def _serve(
    detector: Detector | Group, details: ModelDetails, executor: ThreadPoolExecutor, published: Artifact | None = None
) -> ServedDetector:
    score, compare = (
        Batcher(detector.score, Scores.joined, executor),
        Batcher(detector.compare, np.concatenate, executor),
    )
    normal = normal_images(published) if published else None
    monitor = DriftMonitor(detector.calibration_sets)
    return ServedDetector(detector, details, published, normal, score, compare, monitor)


def _find_served(known: Mapping[str, Served], name: str, kind: str) -> Served:
    if name not in known:
        raise UnknownModelError(f"{kind} {name!r}: {one_of(name, known, 'see GET /models')}")
    return known[name]
