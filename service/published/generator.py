"""A published generator: class name, count and seed -> generated pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ArtifactError, UnknownClassError, ValueRangeError, one_of
from service.images import Pixels
from service.published.artifact import Artifact
from service.published.onnx_model import Device, OnnxModel, UsedDevice, verify_golden

CHUNK = 16  # images that the graph generates at a time
MIN_ANGLE = 1e-4  # radians; below, the formula of `slerp` tends to 0 / 0, and its limit is a straight line
MAX_SEED = 2**32 - 1  # one word of NumPy's seed sequence, so that no two pairs (seed, k) share a random stream

Latents = NDArray[np.float32]
Labels = NDArray[np.int64]


class Generator:
    """A published generator, ready to sample; ArtifactError if it does not repeat its golden outputs on this machine.

    generator = Generator(artifact.load(Path("models/cifar10-cond")))
    generator.sample("cat", count=16, seed=7)  # uint8 [16, 32, 32, 3]
    generator.sample(None, count=10, seed=7)  # one image of each class in turn
    """

    def __init__(self, artifact: Artifact, device: Device = "auto", threads: int = 0) -> None:
        manifest = artifact.manifest
        if manifest.kind != "generator":
            raise ArtifactError(f"{artifact.path}: expected a generator, got a {manifest.kind}; name another model")
        graph = manifest.graphs.get("generator")
        shapes = {spec.name: spec.shape for spec in graph.inputs} if graph else {}
        made = {spec.name for spec in graph.outputs} if graph else set()
        if (
            graph is None
            or not {"z"} <= shapes.keys() <= {"z", "labels"}
            or "pixels" not in made
            or [type(length) for length in shapes["z"]] != [str, int]
        ):
            raise ArtifactError(
                f"{artifact.path}: expected a graph called generator from z [batch, size] and perhaps labels to pixels, "
                "found none; publish the model again"
            )
        self.manifest = manifest
        self.is_conditional = "labels" in shapes
        self.latent_size = int(shapes["z"][1])
        self._model = OnnxModel(artifact.file(graph.file), graph, device, threads)
        verify_golden(self._model, artifact)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes to choose from, in order of label; empty for an unconditional model."""
        return self.manifest.class_names if self.is_conditional else ()

    @property
    def device(self) -> UsedDevice:
        """The device that generates the images."""
        return self._model.device

    def sample(self, class_name: str | None, count: int, seed: int, start: int = 0) -> Pixels:
        """Return `count` generated images from image `start` on, uint8 [count, H, W, 3].

        Image k depends on (seed, k) and the class only, never on `count`. `class_name` is a name or an index. None
        means all classes in turn: image k is of class k modulo the number of classes. Raises UnknownClassError for an
        unknown class, ValueRangeError for a count below 1 or a seed outside 0 to MAX_SEED.
        """
        if count < 1:
            raise ValueRangeError(f"count: expected at least 1, got {count}; ask for more")
        labels = self._labels(class_name, start + count)
        return self._generate(self._latents(seed, count, start), None if labels is None else labels[start:])

    def walk(self, class_name: str | None, seeds: tuple[int, int], steps: int) -> Pixels:
        """Return the first image of each of two seeds and images between them, uint8 [steps, H, W, 3].

        The latents lie evenly on a great circle (spherical interpolation, White, arXiv:1609.04468). None as class means
        the first class. Raises UnknownClassError and ValueRangeError as `sample` does; `steps` must be 2 or more.
        """
        if steps < 2:
            raise ValueRangeError(f"steps: expected at least 2, got {steps}; ask for more")
        start, end = (self._latents(seed, 1)[0] for seed in seeds)
        label = self._labels(class_name, 1)
        return self._generate(slerp(start, end, steps), None if label is None else label.repeat(steps))

    def class_of(self, class_name: str | None, k: int) -> str | None:
        """Return the name of the class of image k in `sample`; None for an unconditional model."""
        labels = self._labels(class_name, k + 1)
        return None if labels is None else self.class_names[labels[k]]

    def _latents(self, seed: int, count: int, start: int = 0) -> Latents:
        if not 0 <= seed <= MAX_SEED:
            raise ValueRangeError(f"seed: expected an integer from 0 to {MAX_SEED}, got {seed}; choose another")
        z = np.empty((count, self.latent_size), np.float32)
        for k, row in enumerate(z, start):
            np.random.default_rng([seed, k]).standard_normal(out=row, dtype=np.float32)
        return z

    def _labels(self, class_name: str | None, count: int) -> Labels | None:
        if class_name is None:
            return np.arange(count) % len(self.class_names) if self.is_conditional else None
        if not self.is_conditional:
            raise ValueRangeError(
                f"class {class_name!r}: expected none, since {self.manifest.name} is not conditional; leave the class out "
                "or name a conditional model"
            )
        return np.full(count, self._label(class_name))

    def _label(self, class_name: str) -> int:
        wanted = class_name.strip().casefold()
        names = [name.casefold() for name in self.class_names]
        for known in (names, [str(label) for label in range(len(names))]):
            if wanted in known:
                return known.index(wanted)
        told = one_of(class_name, self.class_names, f"choose one, or an index below {len(names)}")
        raise UnknownClassError(f"class {class_name!r}: {told}")

    def generate(self, z: Latents, labels: Labels | None = None) -> Pixels:
        """Return the images of `z` [N, latent_size] and, if the model is conditional, `labels` [N], uint8 [N, H, W, 3]."""
        self.check(z, labels)
        return self._generate(z, labels)

    def check(self, z: Latents, labels: Labels | None = None) -> None:
        """Raise ValueRangeError for what `generate` does not take."""
        if not np.isfinite(z).all():
            raise ValueRangeError("z: expected finite numbers, got NaN or infinity; draw them from N(0, 1)")
        if labels is not None and (len(labels) != len(z) or labels.min() < 0 or labels.max() >= len(self.class_names)):
            raise ValueRangeError(
                f"labels: expected {len(z)} from 0 to {len(self.class_names) - 1}, got {len(labels)} from "
                f"{labels.min()} to {labels.max()}; send one for each z"
            )

    def _generate(self, z: Latents, labels: Labels | None) -> Pixels:
        # The sums in matrix products depend on the batch size, so chunks of one size keep the bytes the same.
        count, missing = len(z), -len(z) % CHUNK
        inputs: dict[str, NDArray[Any]] = {"z": z} if labels is None else {"z": z, "labels": labels}
        padded = {name: np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)]) for name, x in inputs.items()}
        chunks = [
            self._model(**{name: x[start : start + CHUNK] for name, x in padded.items()})["pixels"]
            for start in range(0, count, CHUNK)
        ]
        pixels: Pixels = np.concatenate(chunks)[:count]
        return pixels


def slerp(start: Latents, end: Latents, steps: int) -> Latents:
    """Return latents [steps, D] from `start` to `end` [D] at equal angles; equal ends give equal latents."""
    t = np.linspace(0, 1, steps)[:, None]
    cosine = np.clip(start @ end / (np.linalg.norm(start) * np.linalg.norm(end)), -1, 1)
    angle = max(np.arccos(cosine), MIN_ANGLE)
    return np.asarray((np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle), np.float32)
