"""The folder of a published model, `models/<name>/`: its files are written, read and verified here.

A folder that does not match its manifest (schema, set of files, sha256 of each file) is refused in one sentence that
names the file. `service.published.onnx_model` checks the signature and the golden outputs, which need a running graph.
"""

import hashlib
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from service.errors import ArtifactError, UnknownModelError
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
MAX_ARRAY_BYTES = 256 * 2**20  # of golden.npz or calibration.npz after unpacking

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
                f"{path}: expected a list of metrics, got {_first(error)}; publish the model again"
            ) from None

    def golden(self) -> tuple[Arrays, Arrays]:
        """Return the golden inputs and outputs by name, as given to `write_golden`; ArtifactError if there are none."""
        path = self.file(GOLDEN)
        arrays = read_arrays(path)
        inputs, outputs = (_with_prefix(prefix, arrays) for prefix in ("in_", "out_"))
        if not inputs or not all(len(array) for array in inputs.values()):
            raise ArtifactError(f"{path}: expected inputs and outputs, found none; publish the model again")
        return inputs, outputs

    def calibration(self) -> Floats:
        """Return the calibration scores, float32 [n] in ascending order; ArtifactError if there are none."""
        path = self.file(CALIBRATION)
        scores = read_arrays(path).get("score", np.empty(0))
        if scores.ndim != 1 or not len(scores) or scores.dtype.kind != "f":
            raise ArtifactError(f"{path}: expected scores of normal images, found none; publish the model again")
        if not np.isfinite(scores).all() or np.any(np.diff(scores) < 0):
            raise ArtifactError(
                f"{path}: expected finite scores in ascending order, got others; publish the model again"
            )
        return np.asarray(scores, np.float32)

    def calibration_set(self) -> CalibrationSet:
        """Return the same scores with the group of each image, where the file tells them; ArtifactError if it tells others."""
        scores, path = self.calibration(), self.file(CALIBRATION)
        groups = read_arrays(path).get("group")
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

    `groups` [n], if known, are the numbers of the groups (writer, device, batch) that the images belong to.
    """
    order = np.argsort(np.asarray(scores, np.float32), kind="stable")
    arrays: dict[str, NDArray[Any]] = {"score": np.asarray(scores, np.float32)[order]}
    if groups is not None:
        arrays["group"] = groups[order]
    np.savez_compressed(folder / CALIBRATION, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file by name.

    Raises ArtifactError for a file that is damaged, holds pickled objects or unpacks to more than MAX_ARRAY_BYTES.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_ARRAY_BYTES:
            raise ArtifactError(
                f"{path}: expected at most {MAX_ARRAY_BYTES:,} bytes of arrays, got {unpacked:,}; publish the model again"
            )
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(f"{path}: expected an .npz file of arrays, got {reason}; publish the model again") from None


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


def load_named(models_dir: Path, name: str) -> Artifact:
    """Return the verified artifact `name`. UnknownModelError lists the known names."""
    known = {path.name: path for path in find(models_dir)}
    if name not in known:
        names = ", ".join(known) or "none"
        raise UnknownModelError(f"model {name!r}: expected one of: {names}; see GET /models or `oddglyph models`")
    return load(known[name])


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest in `folder` without checking the files that it lists; ArtifactError if it is not valid."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError:
        raise ArtifactError(f"{path}: expected a readable manifest, found none; publish the model again") from None
    except ValidationError as error:
        raise ArtifactError(f"{path}: expected a manifest, got {_first(error)}; publish the model again") from None


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
    """Return the sha256 of every file in the folder `path`, by file name, without hidden files."""
    return {file.name: sha256_of(file) for file in sorted(path.iterdir()) if not file.name.startswith(".")}


def seal(path: Path, manifest: Manifest) -> None:
    """Write `manifest`, with the hashes of all other files, into the folder `path`."""
    (path / MANIFEST).write_text(manifest.model_copy(update={"files": hashes(path)}).model_dump_json(indent=2) + "\n")


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


def _with_prefix(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"{where}: {first['msg']}"
