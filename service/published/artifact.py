"""The folder of a published model, `models/<name>/`: its files are written, read and verified here.

A folder that does not match its manifest (schema, set of files, sha256 of each file) is refused in one sentence that
names the file. `service.published.onnx_model` checks the signature and the golden outputs, which need a running graph.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from service.errors import ArtifactError, UnknownModelError, one_of
from service.published import npz, wording
from service.published.conformal import CalibrationSet
from service.published.manifest import NAME_PATTERN, Manifest, Metric

MANIFEST = "manifest.json"
METRICS = "metrics.json"
GOLDEN = "golden.npz"
CALIBRATION = "calibration.npz"
SAMPLES = "samples.png"
CURVES = "curves.png"
CONFUSION = "confusion.png"
EMBEDDING = "embedding.png"
SCORES = "scores.png"
DETECTOR_GRAPH = "detector.onnx"

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float32]

_METRICS = TypeAdapter(list[Metric])


@dataclass(frozen=True)
class Artifact:
    """A published model whose manifest and file hashes have been verified.

    published = load(Path("models/mnist-0"))
    published.manifest.normal_classes, published.calibration(), published.metrics()
    """

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Return the path of the file `name`; ArtifactError if the manifest does not list it."""
        if name not in self.manifest.files:
            raise ArtifactError(
                f"{self.path}: expected the file {name}, but the manifest does not list it; publish the model again"
            )
        return self.path / name

    def metrics(self) -> list[Metric]:
        """Return the metrics in metrics.json; ArtifactError if the file holds anything else."""
        path = self.file(METRICS)
        try:
            return _METRICS.validate_json(path.read_bytes())
        except ValidationError as error:
            raise ArtifactError(
                f"{path}: expected a list of metrics, got others: {_first(error)}; publish the model again"
            ) from None

    def golden(self) -> tuple[Arrays, Arrays]:
        """Return the golden inputs and outputs by name, as given to `write_golden`; ArtifactError if there are none."""
        path = self.file(GOLDEN)
        arrays = npz.read(path)
        inputs, outputs = (_with_prefix(prefix, arrays) for prefix in ("in_", "out_"))
        if not inputs or not outputs or not all(array.ndim and len(array) for array in arrays.values()):
            raise ArtifactError(f"{path}: expected inputs and outputs, found none; publish the model again")
        return inputs, outputs

    def calibration(self) -> Floats:
        """Return the calibration scores, float32 [n] in ascending order, as `calibration_set` does."""
        return self.calibration_set().scores

    def calibration_set(self) -> CalibrationSet:
        """Return the calibration scores with the group of each image, where the file tells them.

        ArtifactError if there are no scores, or if another detector gave them. Files from before version 0.2 do not say
        which detector that was.
        """
        path = self.file(CALIBRATION)
        arrays = npz.read(path)
        scores, groups = _scores(path, arrays), arrays.get("group")
        expected, found = self.manifest.files.get(DETECTOR_GRAPH, ""), str(arrays.get("detector", ""))
        if found and found != expected:
            raise ArtifactError(
                f"{path}: expected scores by the {DETECTOR_GRAPH} with sha256 {expected[:12]}, got scores by "
                f"{found[:12]!r}; publish or calibrate the model again"
            )
        if groups is not None and (groups.shape != scores.shape or groups.dtype.kind not in "iu"):
            raise ArtifactError(
                f"{path}: expected a group for each of {len(scores):,} scores, got {groups.dtype} {list(groups.shape)}; "
                "publish the model again"
            )
        return CalibrationSet(scores, None if groups is None else np.asarray(groups, np.int64))


def write_metrics(folder: Path, metrics: Sequence[Metric]) -> None:
    """Write `metrics` into `folder` as metrics.json."""
    (folder / METRICS).write_bytes(_METRICS.dump_json(list(metrics), indent=2) + b"\n")


def write_golden(folder: Path, inputs: Arrays, outputs: Arrays) -> None:
    """Write golden.npz into `folder`: the `inputs` of the graph and its `outputs`, both by name."""
    arrays = {f"in_{name}": array for name, array in inputs.items()}
    arrays |= {f"out_{name}": array for name, array in outputs.items()}
    np.savez_compressed(folder / GOLDEN, allow_pickle=False, **arrays)


def write_calibration(folder: Path, scores: Sequence[float] | Floats, groups: NDArray[np.int64] | None = None) -> None:
    """Write calibration.npz into `folder`: `scores` [n] of normal images by models that were not fitted on them.

    `groups` [n], if known, are the numbers of the groups (writer, device, batch) that the images belong to. The file is
    bound to the detector.onnx in `folder`.
    """
    order = np.argsort(np.asarray(scores, np.float32), kind="stable")
    arrays: dict[str, NDArray[Any]] = {"score": np.asarray(scores, np.float32)[order]}
    arrays["detector"] = np.array(sha256_of(folder / DETECTOR_GRAPH))
    if groups is not None:
        arrays["group"] = groups[order]
    np.savez_compressed(folder / CALIBRATION, allow_pickle=False, **arrays)


def sha256_of(path: Path) -> str:
    """Return the sha256 of the file `path` as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path) -> Artifact:
    """Return the verified artifact in the folder `path`; ArtifactError names the first wrong file."""
    manifest = read_manifest(path)
    if manifest.name != path.resolve().name:
        raise ArtifactError(
            f"{path / MANIFEST}: expected the folder's name {path.resolve().name!r}, got {manifest.name!r}; "
            "rename the folder back or publish the model again"
        )
    _check_sense(path / MANIFEST, manifest)
    for name, expected in manifest.files.items():
        _verify_file(path / name, expected)
    visible = {child.name for child in path.iterdir() if not child.name.startswith(".")}  # .DS_Store does no harm
    unlisted = visible - manifest.files.keys() - {MANIFEST}
    if unlisted:
        raise ArtifactError(f"{path / min(unlisted)}: expected only files that the manifest lists; remove it")
    return Artifact(path, manifest)


def find(models_dir: Path) -> list[Path]:
    """Return the folders in `models_dir` that hold a manifest.json, in order of name; ArtifactError if it is no folder."""
    if not models_dir.is_dir():
        raise ArtifactError(
            f"{models_dir}: expected a folder of published models, found none; give another or publish a model"
        )
    return sorted(path.parent for path in models_dir.glob(f"*/{MANIFEST}"))


def incomplete(models_dir: Path) -> list[Path]:
    """Return the folders in `models_dir` that hold a graph but no manifest.json: `find` leaves them out."""
    folders = {path.parent for path in models_dir.glob("*/*.onnx")}
    return sorted(folder for folder in folders if not (folder / MANIFEST).exists())


def load_named(models_dir: Path, name: str, offered: Iterable[str] | None = None) -> Artifact:
    """Return the verified artifact `name`. UnknownModelError lists the names `offered`; None stands for all."""
    known = {path.name: path for path in find(models_dir)}
    if name not in known:
        told = one_of(name, known if offered is None else offered, "see GET /models or `oddglyph models`")
        raise UnknownModelError(f"model {name!r}: {told}")
    return load(known[name])


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest in `folder` without checking the files that it lists; ArtifactError if it is not valid."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError:
        raise ArtifactError(f"{path}: expected a readable manifest, found none; publish the model again") from None
    except ValidationError as error:
        raise ArtifactError(
            f"{path}: expected a manifest, got something else: {_first(error)}; publish the model again"
        ) from None


def require_free(models_dir: Path, name: str, *, replace: bool = False) -> None:
    """Raise ArtifactError if `name` is not a valid name, or is taken and `replace` is false."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise ArtifactError(f"name {name!r}: expected lower-case words and digits joined by hyphens; give another name")
    if (models_dir / name).exists() and not replace:
        raise ArtifactError(f"{models_dir / name}: already exists; give another name or --replace")


@contextmanager
def staging(models_dir: Path, name: str, *, replace: bool) -> Iterator[Path]:
    """Yield an empty folder that becomes `models_dir`/`name` if the block ends without an error, and is removed if not.

    Raises ArtifactError, before or after the block, if `name` is not valid or is taken and `replace` is false. Raises it
    also if `models_dir` cannot be written. A replaced folder is put back if the new folder cannot take its place.

        with staging(models_dir, "mnist-0", replace=False) as folder:
            write_calibration(folder, scores)
            seal(folder, manifest)
    """
    target = models_dir / name
    require_free(models_dir, name, replace=replace)
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        staged = tempfile.TemporaryDirectory(dir=models_dir, prefix=".publish-")
    except OSError as error:
        raise ArtifactError(f"{models_dir}: cannot be written: {error.strerror}; give another --models-dir") from None
    with staged as folder:
        path = Path(folder) / name
        path.mkdir()
        yield path
        require_free(models_dir, name, replace=replace)  # again, since somebody else may have published it meanwhile
        _swap(path, target, Path(folder) / "replaced")


def hashes(path: Path) -> dict[str, str]:
    """Return the sha256 of every file in the folder `path`, by file name, without hidden files and the manifest."""
    files = (file for file in sorted(path.iterdir()) if not file.name.startswith(".") and file.name != MANIFEST)
    return {file.name: sha256_of(file) for file in files}


def seal(path: Path, manifest: Manifest) -> None:
    """Write `manifest`, with the hashes of all other files, into the folder `path`."""
    (path / MANIFEST).write_text(manifest.model_copy(update={"files": hashes(path)}).model_dump_json(indent=2) + "\n")


def _check_sense(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError if what the manifest says of a model does not fit the graphs that it lists."""
    size = manifest.image_size
    expected = (size, size) if manifest.channels == 1 else (size, size, manifest.channels)
    for name, graph in manifest.graphs.items():
        for tensor in (*graph.inputs, *graph.outputs):
            if tensor.name == "pixels" and tensor.shape[1:] != expected:
                raise ArtifactError(
                    f"{path}: expected pixels of {list(expected)}, as image_size and channels say, got "
                    f"{list(tensor.shape[1:])} in the graph {name}; publish the model again"
                )
    if manifest.kind == "detector" and not manifest.normal_classes:
        raise ArtifactError(f"{path}: expected a detector's normal classes, got none; publish the model again")
    if manifest.takes_labels and not manifest.class_names:
        raise ArtifactError(f"{path}: expected names for the classes of labels, got none; publish the model again")


def _verify_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a file with sha256 {expected[:12]}, found none; publish the model again")
    found = sha256_of(path)
    if found != expected:
        raise ArtifactError(
            f"{path}: expected sha256 {expected[:12]}, got {found[:12]}: the file was changed or cut short; "
            "restore it or publish the model again"
        )


def _swap(new: Path, target: Path, replaced: Path) -> None:
    """Move `target`, if it exists, to `replaced` and `new` to `target`; ArtifactError leaves `target` as it was."""
    occupied = target.exists()
    if occupied:
        target.rename(replaced)
    try:
        new.rename(target)
    except OSError as error:
        if occupied:
            replaced.rename(target)
        raise ArtifactError(f"{target}: cannot be written: {error.strerror}; try again") from None


def _scores(path: Path, arrays: Arrays) -> Floats:
    found = arrays.get("score", np.empty(0))
    if found.ndim != 1 or not len(found) or found.dtype.kind != "f":
        raise ArtifactError(f"{path}: expected scores of normal images, found none; publish the model again")
    with np.errstate(over="ignore"):  # to infinity, which is refused
        scores = np.asarray(found, np.float32)
    if not np.isfinite(scores).all() or np.any(np.diff(scores) < 0):
        raise ArtifactError(f"{path}: expected finite scores in ascending order, got others; publish the model again")
    return scores


def _with_prefix(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{wording.place(first)}: {wording.expected(first)}"
