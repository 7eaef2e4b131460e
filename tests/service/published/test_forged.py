"""Models whose hashes were made to fit what was changed: each is refused in one sentence that names the file."""

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from artifacts import write_detector, write_generator

from service.errors import ArtifactError
from service.http.catalog import Catalog
from service.published import artifact, npz
from service.published.artifact import CALIBRATION, GOLDEN, MANIFEST
from service.published.detector import Detector
from service.published.generator import Generator


@pytest.fixture(scope="module")
def whole(tmp_path_factory, zeros, digits) -> Path:
    """Two detectors, `zeros` and `ones`, and the generator `colours`."""
    folder = tmp_path_factory.mktemp("whole")
    write_detector(folder / "zeros", zeros)
    write_detector(folder / "ones", digits["x_train"][digits["y_train"] == 1])
    write_generator(folder / "colours")
    return folder


@pytest.fixture
def models(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "models")


def reseal(folder: Path, **changes: object) -> None:
    """Make manifest and hashes fit what the folder holds."""
    manifest = artifact.read_manifest(folder)
    artifact.seal(folder, manifest.model_copy(update=changes))


def refused(folder: Path, says: str, model: type = Detector) -> None:
    with pytest.raises(ArtifactError, match=says) as caught:
        model(artifact.load(folder), "cpu", 1)
    sentence = str(caught.value)
    assert sentence.startswith(str(folder))
    assert "\n" not in sentence
    assert "; publish" in sentence


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def scores(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Return what replaces the scores of a calibration file by what `change` makes of them."""

    def write(path: Path) -> None:
        arrays = arrays_of(path)
        np.savez(path, **(arrays | {"score": change(arrays["score"])}))

    return write


def header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def zipped(name: str, data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)

    return write


def a_gigabyte(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("score.npy", "w") as member,
    ):
        member.write(header((2**28,)))
        for _ in range(2**10):
            member.write(bytes(2**20))


def patched(local: int, central: int, value: int) -> Callable[[Path], None]:
    """Return what sets a byte of the first member's two headers."""

    def write(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[local] = data[data.index(b"PK\x01\x02") + central] = value
        path.write_bytes(data)

    return write


ANY_FILE = {
    "empty": (lambda path: path.write_bytes(b""), "File is not a zip file"),
    "text": (lambda path: path.write_text("no arrays"), "File is not a zip file"),
    "pickled": (lambda path: np.savez(path, score=np.array([{}], object)), "Object arrays cannot be loaded"),
    "no array": (zipped("score", b"text"), "other contents, called 'score'"),
    "an array of 4 TB": (zipped("score.npy", header((10**12,))), "Unable to allocate"),
    "encrypted": (patched(6, 8, 1), "is encrypted"),
    "packed by a method unknown": (patched(8, 10, 99), "compression method is not supported"),
    "a gigabyte": (a_gigabyte, "expected at most 268,435,456 bytes of arrays, got 1,0"),
}


@pytest.mark.parametrize("name", [CALIBRATION, GOLDEN])
@pytest.mark.parametrize(("write", "says"), ANY_FILE.values(), ids=ANY_FILE)
def test_what_is_no_file_of_arrays_is_refused(models, name, write, says):
    write(models / "zeros" / name)
    reseal(models / "zeros")
    refused(models / "zeros", rf"{name}: .*{says}")


CALIBRATIONS = {
    "not a number": (lambda score: np.append(score, np.float32(np.nan)), "expected finite scores"),
    "infinite": (lambda score: np.append(score, np.float32(np.inf)), "expected finite scores"),
    "beyond float32": (lambda score: np.append(score.astype(np.float64), 1e300), "expected finite scores"),
    "in disorder": (lambda score: score[::-1], "in ascending order"),
    "none": (lambda score: score[:0], "expected scores of normal images, found none"),
    "a table": (lambda score: score[None], "expected scores of normal images, found none"),
    "integers": (lambda score: score.astype(int), "expected scores of normal images, found none"),
}


@pytest.mark.parametrize(("change", "says"), CALIBRATIONS.values(), ids=CALIBRATIONS)
def test_a_calibration_that_cannot_be_is_refused(models, change, says):
    scores(change)(models / "zeros" / CALIBRATION)
    reseal(models / "zeros")
    refused(models / "zeros", rf"{CALIBRATION}: .*{says}")


def test_another_model_s_calibration_is_refused(models):
    shutil.copy(models / "ones" / CALIBRATION, models / "zeros" / CALIBRATION)
    reseal(models / "zeros")
    refused(models / "zeros", rf"{CALIBRATION}: expected scores by the detector\.onnx with sha256 [0-9a-f]{{12}}, got")


def test_a_calibration_that_does_not_say_whose_scores_it_holds_stays_valid(models):
    path = models / "zeros" / CALIBRATION
    before = artifact.load(models / "zeros").calibration()
    np.savez(path, score=arrays_of(path)["score"])
    reseal(models / "zeros")
    np.testing.assert_array_equal(Detector(artifact.load(models / "zeros"), "cpu", 1).calibration, before)


GOLDENS = {
    "no images": (lambda arrays: {name: array[:0] for name, array in arrays.items()}, "inputs and outputs"),
    "no arrays": (lambda _: {}, "inputs and outputs"),
    "no outputs": (lambda arrays: {"in_pixels": arrays["in_pixels"]}, "inputs and outputs"),
    "numbers": (lambda _: {"in_pixels": np.uint8(3), "out_score": np.float32(3)}, "inputs and outputs"),
    "an output less": (lambda arrays: arrays.pop("out_score") is not None and arrays, "score differs by inf"),
    "an output that is no number": (
        lambda arrays: arrays | {"out_score": arrays["out_score"] * np.float32(np.nan)},
        "score differs by inf",
    ),
    "another input": (
        lambda arrays: arrays | {"in_noise": arrays["in_pixels"]},
        "expected inputs that the graph takes",
    ),
    "no input": (
        lambda arrays: {name.replace("pixels", "x"): array for name, array in arrays.items()},
        "expected inputs that the graph takes",
    ),
    "fractions": (
        lambda arrays: arrays | {"in_pixels": arrays["in_pixels"].astype(np.float32)},
        "expected inputs that the graph takes",
    ),
    "smaller images": (
        lambda arrays: arrays | {"in_pixels": arrays["in_pixels"][:, :28]},
        "expected inputs that the graph takes",
    ),
}


@pytest.mark.parametrize(("change", "says"), GOLDENS.values(), ids=GOLDENS)
def test_golden_outputs_that_prove_nothing_are_refused(models, change, says):
    path = models / "zeros" / GOLDEN
    np.savez(path, **change(arrays_of(path)))
    reseal(models / "zeros")
    refused(models / "zeros", rf"{GOLDEN}: .*{says}")


@pytest.mark.parametrize(
    ("name", "model", "changes", "says"),
    [
        (
            "zeros",
            Detector,
            {"image_size": 27},
            r"expected pixels of \[27, 27\].*, got \[32, 32\] in the graph detector",
        ),
        ("zeros", Detector, {"channels": 3}, r"expected pixels of \[32, 32, 3\].*, got \[32, 32\]"),
        ("zeros", Detector, {"normal_classes": ()}, "expected a detector's normal classes, got none"),
        ("colours", Generator, {"image_size": 64}, r"expected pixels of \[64, 64, 3\].*, got \[32, 32, 3\]"),
        ("colours", Generator, {"class_names": ()}, "expected names for the classes of labels, got none"),
    ],
)
def test_a_manifest_that_does_not_fit_its_graphs_is_refused(models, name, model, changes, says):
    reseal(models / name, **changes)
    refused(models / name, rf"{MANIFEST}: {says}", model)


def test_a_graph_that_is_no_detector_or_no_generator_is_refused(models):
    detector, generator = (artifact.read_manifest(models / name).graphs for name in ("zeros", "colours"))
    for file, graph in (("zeros", detector["detector"]), ("colours", generator["generator"])):
        shutil.copy(models / file / graph.file, models / ("colours" if file == "zeros" else "zeros"))
    reseal(models / "zeros", channels=3, graphs={"detector": generator["generator"]})
    refused(models / "zeros", "expected a detector that makes density, heat, .* of pixels, got another graph")
    reseal(models / "colours", channels=1, graphs={"generator": detector["detector"]})
    refused(models / "colours", "expected a graph called generator from z", Generator)


def test_no_damage_to_a_file_of_arrays_is_anything_but_a_refusal(whole, tmp_path):
    data, generator = (whole / "zeros" / GOLDEN).read_bytes(), np.random.default_rng(0)
    refusals = 0
    for _ in range(500):
        damaged = bytearray(data)
        for at in generator.integers(0, len(data), generator.integers(1, 5)):
            damaged[at] = generator.integers(0, 256)
        (tmp_path / GOLDEN).write_bytes(damaged)
        try:
            npz.read(tmp_path / GOLDEN)
        except ArtifactError:
            refusals += 1
    assert 100 < refusals < 500


def test_a_folder_with_graphs_and_no_manifest_stops_the_start(models):
    Catalog(models, "cpu", 1)
    (models / "notes").mkdir()  # anything else may lie there
    Catalog(models, "cpu", 1)
    (models / "ones" / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=r"ones: expected manifest\.json beside the graphs, found none"):
        Catalog(models, "cpu", 1)
    Catalog(models, "cpu", 1, ["zeros"])
