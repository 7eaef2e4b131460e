"""Sources: every container gives the same images, in order and one at a time."""

import io
import itertools
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from containers import CONTAINERS, COUNT, NAMES, SIZE, ids, least_peak, read, write_folder, write_npy
from pyarrow import parquet

from service import images
from service.batch import sources
from service.batch.sources import Choice
from service.batch.tally import Losses
from service.errors import SourceError


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def expected(pixels):
    return images.fit(pixels, SIZE)


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


def _sparse_npy(path, count):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, 28, 28)})
        file.truncate(file.tell() + count * 28 * 28)


def test_arrays_larger_than_memory_are_read_one_image_at_a_time(tmp_path):
    _sparse_npy(tmp_path / "huge.npy", 10**9)

    def first():
        assert ids(itertools.islice(read_lazily("huge.npy"), 3000))[-1] == "huge.npy[2999]"

    assert least_peak(first) < 2**20


def test_archives_do_not_pile_up_in_memory(tmp_path, pixels):
    png = images.encode_png(pixels[0])
    with tarfile.open(tmp_path / "many.tar", "w") as archive:
        for number in range(3000):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(png)
            archive.addfile(member, io.BytesIO(png))
    del archive

    def count():
        assert sum(1 for _ in read_lazily("many.tar")) == 3000

    assert least_peak(count) < 2**20


def read_lazily(name):
    return sources.stream(sources.find([name]), Choice(), Losses())
