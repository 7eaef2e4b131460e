"""Sources: every container gives the same images, in order, lazily; what is damaged is said in one sentence."""

import gzip
import io
import itertools
import os
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from service import images, sources
from service.errors import OddglyphError, SourceError
from service.sources import Choice

SIZE = 32
COUNT = 5
NAMES = [f"{number}/{number}.png" for number in range(COUNT)]


@pytest.fixture(scope="module")
def pixels(digits):
    return digits["x_test"][:COUNT]


@pytest.fixture(scope="module")
def expected(pixels):
    return images.fit(pixels, SIZE)


def _idx(pixels):
    return struct.pack(f">HBB{pixels.ndim}I", 0, 8, pixels.ndim, *pixels.shape) + pixels.tobytes()


def write_folder(path, pixels):
    for name, image in zip(NAMES, pixels, strict=True):
        (path / name).parent.mkdir(parents=True)
        (path / name).write_bytes(images.encode_png(image))


def write_idx(path, pixels):
    path.write_bytes(_idx(pixels))


def write_idx_gz(path, pixels):
    path.write_bytes(gzip.compress(_idx(pixels)))


def write_npy(path, pixels):
    np.save(path, pixels)


def write_npz(path, pixels):
    np.savez_compressed(path, x=pixels, labels=np.arange(len(pixels)))


def write_zip(path, pixels):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, image in zip(NAMES, pixels, strict=True):
            archive.writestr(name, images.encode_png(image))
        archive.writestr("README.txt", "no image")
        archive.writestr("__MACOSX/0/._0.png", "no image either")


def write_tar(path, pixels):
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, image in [*zip(NAMES, map(images.encode_png, pixels), strict=True), ("README.txt", b"no image")]:
            member = tarfile.TarInfo(name)
            member.size = len(image)
            archive.addfile(member, io.BytesIO(image))


def write_parquet(path, pixels):
    files = [{"bytes": images.encode_png(image), "path": name} for name, image in zip(NAMES, pixels, strict=True)]
    parquet.write_table(pa.table({"image": files, "label": list(range(len(pixels)))}), path)


def write_binary_parquet(path, pixels):
    parquet.write_table(pa.table({"image": [images.encode_png(image) for image in pixels]}), path)


CONTAINERS = {
    "folder": (write_folder, "folder/{0}/{0}.png"),
    "t10k-images-idx3-ubyte": (write_idx, "t10k-images-idx3-ubyte[{0}]"),
    "images.idx3-ubyte.gz": (write_idx_gz, "images.idx3-ubyte.gz[{0}]"),
    "images.npy": (write_npy, "images.npy[{0}]"),
    "images.npz": (write_npz, "images.npz/x[{0}]"),
    "images.zip": (write_zip, "images.zip/{0}/{0}.png"),
    "images.tar": (write_tar, "images.tar/{0}/{0}.png"),
    "IMAGES.TAR.GZ": (write_tar, "IMAGES.TAR.GZ/{0}/{0}.png"),
    "images.tgz": (write_tar, "images.tgz/{0}/{0}.png"),
    "images.parquet": (write_parquet, "images.parquet[{0}]"),
    "binary.parquet": (write_binary_parquet, "binary.parquet[{0}]"),
}


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(*patterns, choice=Choice()):  # noqa: B008
    """What the command does: find, check, stream."""
    paths = sources.find(patterns)
    sources.check(paths, choice)
    return list(sources.stream(paths, choice))


def ids(items):
    return [item.id for item in items]


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_the_same_images_in_order(name, pixels, expected, tmp_path):
    write, pattern = CONTAINERS[name]
    write(tmp_path / name, pixels)
    items = read(name)
    assert ids(items) == [pattern.format(number) for number in range(COUNT)]
    np.testing.assert_array_equal([item.pixels(SIZE) for item in items], expected)
    inverted = [item.pixels(SIZE, invert=True) for item in items]
    np.testing.assert_array_equal(inverted, images.fit(pixels, SIZE, invert=True))


def test_sources_follow_one_another_and_may_repeat(pixels, tmp_path):
    for name in ("b.npy", "a.npy"):
        write_npy(tmp_path / name, pixels[:1])
    assert ids(read("b.npy", "a.npy", "b.npy")) == ["b.npy[0]", "a.npy[0]", "b.npy[0]"]


def test_folder_skips_hidden_files_other_files_and_links_to_folders(pixels, tmp_path):
    write_folder(tmp_path / "folder", pixels)
    for name in (".hidden.png", "0/.hidden.png", "notes.txt"):
        (tmp_path / "folder" / name).write_bytes(images.encode_png(pixels[0]))
    (tmp_path / "folder" / ".git").mkdir()
    (tmp_path / "folder" / ".git" / "0.png").write_bytes(b"")
    (tmp_path / "folder" / "0" / "up").symlink_to(tmp_path / "folder")
    assert ids(read("folder")) == [f"folder/{name}" for name in NAMES]


@pytest.mark.parametrize("pattern", ["folder/*", "folder/*/*.png", "folder/**", "folder/**/*.png", "fold*"])
def test_patterns_name_each_image_once_in_order(pattern, pixels, tmp_path):
    write_folder(tmp_path / "folder", pixels)
    assert ids(read(pattern)) == [f"folder/{name}" for name in NAMES]


def test_file_whose_name_looks_like_a_pattern_is_that_file(pixels, tmp_path):
    write_npy(tmp_path / "images[0].npy", pixels[:1])
    assert ids(read("images[0].npy")) == ["images[0].npy[0]"]


def test_rgb_arrays_are_reduced_to_grey_as_files_are(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), np.uint8)
    write_npy(tmp_path / "rgb.npy", colours)
    for item, colour in zip(read("rgb.npy"), colours, strict=True):
        np.testing.assert_array_equal(item.pixels(SIZE), images.decode(images.encode_png(colour), SIZE))


def test_key_and_column_choose_among_several(pixels, tmp_path):
    np.savez(tmp_path / "two.npz", x_train=pixels[:2], x_test=pixels[2:], y=np.arange(2))
    files = [images.encode_png(image) for image in pixels]
    parquet.write_table(pa.table({"image": files, "mask": files}), tmp_path / "two.parquet")
    assert ids(read("two.npz", choice=Choice(key="x_train"))) == ["two.npz/x_train[0]", "two.npz/x_train[1]"]
    assert len(read("two.parquet", choice=Choice(column="mask"))) == COUNT
    for name, choice in itertools.product(("two.npz", "two.parquet"), (Choice(), Choice("y", "x"), Choice("z", "z"))):
        with pytest.raises(SourceError, match=rf"^{name}.*expected .*(x_test|mask|uint8)"):
            read(name, choice=choice)


def test_one_unreadable_image_does_not_end_its_source(pixels, tmp_path):
    png = images.encode_png(pixels[0])
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, data in (("a.png", png), ("b.png", png[: len(png) // 2]), ("c.png", b""), ("d.png", png)):
            archive.writestr(name, data)
    whole = (tmp_path / "images.zip").read_bytes()
    (tmp_path / "images.zip").write_bytes(whole.replace(png, png[:-1] + b"\0", 1))  # breaks the first one's checksum
    parquet.write_table(pa.table({"image": [None, png]}), tmp_path / "null.parquet")
    (tmp_path / "large.png").write_bytes(bytes(images.MAX_IMAGE_BYTES + 1))
    reasons = [_reason(item) for item in read("images.zip", "null.parquet", "large.png")]
    patterns = ["Bad CRC-32", "damaged one", "an empty file", None, "got null", None, "at most 10,485,760 bytes"]
    for reason, pattern in zip(reasons, patterns, strict=True):
        assert reason is None if pattern is None else pattern in reason


def _reason(item):
    try:
        item.pixels(SIZE)
    except OddglyphError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name not in ("folder", "images.zip")])
def test_source_cut_short_ends_in_a_row_and_the_next_one_follows(name, pixels, tmp_path):
    write, pattern = CONTAINERS[name]
    write(tmp_path / name, pixels)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * 0.6)])
    write_npy(tmp_path / "next.npy", pixels[:1])
    found = ids(sources.stream([tmp_path / name, tmp_path / "next.npy"], Choice()))
    good = [f"{tmp_path}/{pattern.format(number)}" for number in range(COUNT)]
    assert found[-1] == f"{tmp_path}/next.npy[0]"
    assert found[-2] in (f"{tmp_path}/{name}", *good)
    assert [each for each in found if each in good] == good[: len(found) - 2 + (found[-2] in good)]


def encrypted_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"secret")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the local header
    data[data.rindex(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(data)


def bomb_tar(path):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 2**33
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))


HOSTILE = {
    "empty/": (lambda path: path.mkdir(), "expected images"),
    "text/": (lambda path: (path.mkdir(), (path / "a.txt").write_text("")), "expected images"),
    "empty.zip": (lambda path: zipfile.ZipFile(path, "w").close(), "expected images"),
    "empty.tar": (lambda path: tarfile.open(path, "w").close(), "expected images"),
    "none.npy": (lambda path: np.save(path, np.empty((0, 28, 28), np.uint8)), "expected images"),
    "encrypted.zip": (encrypted_zip, "got an encrypted one"),
    "text.zip": (lambda path: path.write_text("text"), "not a zip file"),
    "text.tar": (lambda path: path.write_text("text"), "got: "),
    "bomb.tar": (bomb_tar, "got 8,589,934,592; pack it again"),
    "text.parquet": (lambda path: path.write_text("text" * 9), "got: Parquet magic bytes not found"),
    "no-image.parquet": (lambda path: parquet.write_table(pa.table({"a": [1]}), path), r"got a \(int64\)"),
    "labels-idx1-ubyte": (lambda path: write_idx(path, np.arange(9, dtype=np.uint8)), r"got uint8 \[9\]"),
    "magic-ubyte": (lambda path: path.write_bytes(b"GIF89a" * 9), "got 47 49 46 38"),
    "short-ubyte": (lambda path: path.write_bytes(b"\0\0\x08\x03\0\0"), "cut short"),
    "empty-ubyte": (lambda path: path.write_bytes(b""), "cut short"),
    "int32-ubyte": (lambda path: path.write_bytes(b"\0\0\x0c\x03" + bytes(12)), "got IDX type 0xc"),
    "text.gz": (lambda path: path.write_text("text"), "Not a gzipped file"),
    "pickled.npy": (lambda path: np.save(path, np.array([{}, None]), allow_pickle=True), "got object"),
    "text.npy": (lambda path: path.write_text("no array"), "the magic string is not correct"),
    "float.npy": (lambda path: np.save(path, np.zeros((2, 28, 28))), r"got float64 \[2, 28, 28\]; convert them"),
    "flat.npy": (lambda path: np.save(path, np.zeros((2, 784), np.uint8)), r"got uint8 \[2, 784\]"),
    "rgba.npy": (lambda path: np.save(path, np.zeros((2, 28, 28, 4), np.uint8)), r"got uint8 \[2, 28, 28, 4\]"),
    "wide.npy": (lambda path: np.save(path, np.zeros((1, 1, 4097), np.uint8)), "at most 4096 pixels a side"),
    "fortran.npy": (lambda path: np.save(path, np.zeros((28, 28, 2), np.uint8).T), "got Fortran order"),
    "labels.npz": (lambda path: np.savez(path, y=np.arange(3)), "got y; choose by --key"),
    "text.npz": (lambda path: path.write_text("text"), "not a zip file"),
    "absent.npy": (lambda _: None, "check the path"),
    "absent/*.png": (lambda _: None, "check the path"),
    "pipe.png": (os.mkfifo, "expected a file"),
    "x" * 300: (lambda _: None, "File name too long"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_source_that_holds_no_images_is_refused_before_anything_is_scored(name, tmp_path):
    make, pattern = HOSTILE[name]
    make(tmp_path / name)
    with pytest.raises(SourceError, match=pattern) as caught:
        read(name)
    assert str(caught.value).startswith("pax:" if name == "bomb.tar" else name.removesuffix("/"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CONTAINERS.keys() - {"folder"})
def test_damage_never_escapes_as_another_error(name, pixels, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / name
    CONTAINERS[name][0](path, pixels)
    whole = path.read_bytes()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=8))
    def damage(changes):
        data = bytearray(whole)
        for position, value in changes:
            data[position] = value
        path.write_bytes(data)
        for item in itertools.islice(sources.stream([path], Choice()), 10):
            _reason(item)

    damage()


def _sparse_npy(path, count):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, 28, 28)})
        file.truncate(file.tell() + count * 28 * 28)


def test_arrays_larger_than_memory_are_read_one_image_at_a_time(tmp_path):
    _sparse_npy(tmp_path / "huge.npy", 10**9)
    tracemalloc.start()
    items = read_lazily("huge.npy")
    assert ids(itertools.islice(items, 3000))[-1] == "huge.npy[2999]"
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_archives_do_not_pile_up_in_memory(tmp_path, pixels):
    png = images.encode_png(pixels[0])
    with tarfile.open(tmp_path / "many.tar", "w") as archive:
        for number in range(3000):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(png)
            archive.addfile(member, io.BytesIO(png))
    del archive
    tracemalloc.start()
    assert sum(1 for _ in read_lazily("many.tar")) == 3000
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def read_lazily(name):
    return sources.stream(sources.find([name]), Choice())
