"""The schema of a published model folder, `models/<name>/`, and its verification.

A folder that does not match its manifest (schema, set of files, sha256 of each) is refused with one sentence that names
the file. What only a running graph can prove (signature, golden outputs) is checked by `service.published.detector`.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import ArtifactError, UnknownModelError

MANIFEST = "manifest.json"
NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"

Kind = Literal["detector", "generator", "classifier"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Frozen):
    """One graph input or output; a string in `shape` is a dynamic axis, such as "batch"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Graph(_Frozen):
    """An ONNX file with its weights inside, its opset and its signature."""

    file: FileName
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Parity(_Frozen):
    """Largest relative difference between torch and ONNX Runtime over all outputs, for each batch size tried."""

    tolerance: float
    relative_difference: dict[int, float]


class Provenance(_Frozen):
    """Where the weights come from: enough to train them again; `invert` if the images of `data` are dark on light.

    `commit` is the code that trained, `published_commit` that which then fitted the density, calibrated and exported.
    """

    created: str
    commit: str
    published_commit: str = "unknown"
    command: str
    seed: int
    data: str
    data_sha256: Sha256
    invert: bool = False
    device: str
    train_seconds: float
    versions: dict[str, str]


class Calibration(_Frozen):
    """Normal images of one's own, `images` in number, that p-values were calibrated on instead of those of `base`."""

    created: str
    base: str
    sources: tuple[str, ...]
    invert: bool
    images: int


class Manifest(_Frozen):
    """The contents of manifest.json. `image_size` is the side in pixels of the square images that the graphs take."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    kind: Kind
    summary: str
    image_size: Annotated[int, Field(gt=0, le=1024)]
    channels: Literal[1, 3]
    class_names: tuple[str, ...]
    normal_classes: tuple[str, ...]
    graphs: dict[str, Graph]
    recipe: dict[str, Any]
    provenance: Provenance
    parity: Parity
    calibration: Calibration | None = None
    files: dict[FileName, Sha256]


@dataclass(frozen=True)
class Artifact:
    """A published model whose manifest and file hashes have been verified."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Return the path of a file that the manifest lists; ArtifactError if it lists no such file."""
        if name not in self.manifest.files:
            raise ArtifactError(
                f"{self.path}: expected the file {name}, the manifest lists none; publish the model again"
            )
        return self.path / name

    def metrics(self) -> list[dict[str, Any]]:
        """Return the contents of metrics.json: a list of metrics with name, value, deviation, samples, data, split."""
        contents: list[dict[str, Any]] = json.loads(self.file("metrics.json").read_bytes())
        return contents


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path) -> Artifact:
    """Return the verified artifact in the folder `path`; ArtifactError names the first file that is wrong."""
    manifest = read_manifest(path)
    if manifest.name != path.resolve().name:
        raise ArtifactError(
            f"{path / MANIFEST}: expected the name {path.resolve().name!r} of its folder, got {manifest.name!r}; "
            "rename the folder back or publish the model again"
        )
    for name, expected in manifest.files.items():
        _verify_file(path / name, expected)
    unlisted = {child.name for child in path.iterdir()} - manifest.files.keys() - {MANIFEST}
    if unlisted:
        raise ArtifactError(f"{path / min(unlisted)}: expected only files that the manifest lists; remove it")
    return Artifact(path, manifest)


def find(models_dir: Path) -> list[Path]:
    """Return the artifact folders in `models_dir`, those that hold a manifest.json, in order of name."""
    if not models_dir.is_dir():
        raise ArtifactError(
            f"{models_dir}: expected a folder of published models, found none; give one or publish a model"
        )
    return sorted(path.parent for path in models_dir.glob(f"*/{MANIFEST}"))


def load_named(models_dir: Path, name: str) -> Artifact:
    """Return the verified artifact called `name`; UnknownModelError lists the names there are."""
    known = {path.name: path for path in find(models_dir)}
    if name not in known:
        names = ", ".join(known) or "none"
        raise UnknownModelError(f"model {name!r}: expected one of: {names}; see GET /models or `oddglyph models`")
    return load(known[name])


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest in `folder`, without a look at the files it lists; ArtifactError if it is none."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError:
        raise ArtifactError(f"{path}: expected a readable manifest, found none; publish the model again") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ArtifactError(f"{path}: {where}: {first['msg']}; publish the model again") from None


def require_free(models_dir: Path, name: str, *, replace: bool = False) -> None:
    """Raise ArtifactError if nothing can be published as `name`: it is none, or taken and not to be replaced."""
    if not re.match(NAME_PATTERN, name):
        raise ArtifactError(f"name {name!r}: expected lower-case words and digits joined by hyphens; give another name")
    if (models_dir / name).exists() and not replace:
        raise ArtifactError(
            f"{models_dir / name}: expected no such artifact yet, found one; give another name or publish with --replace"
        )


@contextmanager
def staging(models_dir: Path, name: str, *, replace: bool) -> Iterator[Path]:
    """Yield an empty folder that becomes `models_dir`/`name` if the block ends without an error, and vanishes if not.

    ArtifactError if `name` is none, is taken and not to be replaced, or `models_dir` cannot be written to.
    """
    target = models_dir / name
    require_free(models_dir, name, replace=replace)
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        staged = tempfile.TemporaryDirectory(dir=models_dir, prefix=".publish-")
    except OSError as error:
        raise ArtifactError(
            f"{models_dir}: expected a folder to write to, got {error.strerror}; give another --models-dir"
        ) from None
    with staged as folder:
        path = Path(folder) / name
        path.mkdir()
        yield path
        if target.exists():
            target.rename(Path(folder) / "replaced")
        path.rename(target)


def hashes(path: Path) -> dict[str, str]:
    """Return the sha256 of every file in the folder `path` by name."""
    return {file.name: sha256_of(file) for file in sorted(path.iterdir())}


def seal(path: Path, manifest: Manifest) -> None:
    """Write `manifest` with the hashes of all other files into the folder `path`."""
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
