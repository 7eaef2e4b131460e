import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from artifacts import write_detector

from service.errors import ArtifactError, UnknownModelError
from service.published import artifact
from service.published.detector import Detector
from service.published.generator import Generator


@pytest.fixture
def folder(tmp_path: Path, zeros) -> Path:
    return write_detector(tmp_path / "mnist-0", zeros)


def edit(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def test_a_whole_artifact_loads(folder: Path):
    assert artifact.load(folder).manifest.name == "mnist-0"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"kind": "oracle"}, "kind"),
        ({"surprise": 1}, "surprise"),
        ({"image_size": 0}, "image_size"),
        ({"name": "mnist-1"}, "expected the folder's name 'mnist-0', got 'mnist-1'"),
        ({"files": {"../passwd": "0" * 64}}, "files"),
        ({"files": {}}, "expected only files that the manifest lists"),
    ],
)
def test_a_wrong_manifest_is_refused_by_what_is_wrong(folder: Path, changes: dict[str, object], says: str):
    edit(folder, **changes)
    with pytest.raises(ArtifactError, match=says):
        artifact.load(folder)


def test_a_folder_without_a_manifest_or_with_half_of_one_is_refused(folder: Path):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[: len(text) // 2])
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        artifact.load(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="expected a readable manifest"):
        artifact.load(folder)


def test_another_signature_than_the_manifest_s_is_refused(folder: Path):
    graphs = json.loads((folder / "manifest.json").read_text())["graphs"]
    graphs["detector"]["inputs"][0]["shape"] = ["batch", 28, 28]
    edit(folder, graphs=graphs, image_size=28)
    with pytest.raises(ArtifactError, match=r"expected pixels tensor\(uint8\)\['batch', 28, 28\]"):
        Detector(artifact.load(folder))


def test_a_detector_is_no_generator(folder: Path):
    with pytest.raises(ArtifactError, match="expected a generator, got a detector"):
        Generator(artifact.load(folder))


def test_models_are_found_by_their_manifests_and_named_when_missed(folder: Path):
    (folder.parent / "notes").mkdir()
    assert artifact.find(folder.parent) == [folder]
    with pytest.raises(UnknownModelError, match="'mnist-5': expected one of: mnist-0"):
        artifact.load_named(folder.parent, "mnist-5")
    with pytest.raises(ArtifactError, match="expected a folder of published models"):
        artifact.find(folder.parent / "nowhere")


def publish(folder: Path, *, replace: bool, meanwhile: Callable[[], None] = lambda: None) -> None:
    with artifact.staging(folder.parent, folder.name, replace=replace) as staged:
        (staged / "new").touch()
        meanwhile()


def test_a_name_that_another_publisher_takes_meanwhile_is_refused_and_kept(folder: Path):
    other = folder.with_name("mnist-1")
    with pytest.raises(ArtifactError, match="mnist-1: already exists"):
        publish(other, replace=False, meanwhile=other.mkdir)
    assert not list(other.iterdir())
    assert {path.name for path in folder.parent.iterdir()} == {"mnist-0", "mnist-1"}


def test_a_replaced_folder_is_put_back_if_the_new_one_cannot_take_its_place(folder: Path, monkeypatch):
    def rename(path: Path, target: Path, rename=Path.rename) -> Path:
        if target == folder and (path / "new").exists():
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ArtifactError, match="mnist-0: cannot be written: Input/output error"):
        publish(folder, replace=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]
