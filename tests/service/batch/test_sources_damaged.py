"""A damaged source gives one sentence or an error row. Readable images after the damage are still read."""

import gzip
import io
import itertools
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from containers import CONTAINERS, COUNT, SIZE, ids, least_peak, read, write_idx, write_npy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from service import images
from service.batch import sources
from service.batch.sources import Choice
from service.batch.tally import Losses
from service.errors import OddglyphError, SourceError


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_one_unreadable_image_does_not_end_its_source(pixels, tmp_path):
    png = images.encode_png(pixels[0])
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, data in (("a.png", png), ("b.png", png[: len(png) // 2]), ("c.png", b""), ("d.png", png)):
            archive.writestr(name, data)
    whole = (tmp_path / "images.zip").read_bytes()
    (tmp_path / "images.zip").write_bytes(whole.replace(png, png[:-1] + b"\0", 1))  # the checksum of a.png is now wrong
    parquet.write_table(pa.table({"image": [None, png]}), tmp_path / "null.parquet")
    (tmp_path / "large.png").write_bytes(bytes(images.MAX_IMAGE_BYTES + 1))
    reasons = [_reason(item) for item in read("images.zip", "null.parquet", "large.png")]
    patterns = ["Bad CRC-32", "is damaged", "an empty file", None, "got null", None, "at most 10,485,760 bytes"]
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
    found = ids(sources.stream([tmp_path / name, tmp_path / "next.npy"], Choice(), Losses()))
    good = [f"{tmp_path}/{pattern.format(number)}" for number in range(COUNT)]
    assert found[-1] == f"{tmp_path}/next.npy[0]"
    assert found[-2] in (f"{tmp_path}/{name}", *good)
    assert [each for each in found if each in good] == good[: len(found) - 2 + (found[-2] in good)]


def lying_zip(path, size, method):
    """Write a zip file whose only member declares 1,000 bytes and holds `size` bytes."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", bytes(size))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = data[22:26] = (1000).to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize(("method", "megabytes"), [(zipfile.ZIP_DEFLATED, 1), (zipfile.ZIP_LZMA, 100)])
def test_zip_that_lies_about_sizes_is_read_as_far_as_an_image_may_go(method, megabytes, tmp_path):
    lying_zip(tmp_path / "lie.zip", 300 * 2**20, method)
    assert least_peak(lambda: read("lie.zip")) < megabytes * 2**20
    [item] = read("lie.zip")
    assert _reason(item) is not None


@pytest.mark.parametrize("name", ["images.npy", "images.npz", "t10k-images-idx3-ubyte", "images.idx3-ubyte.gz"])
def test_file_that_holds_more_than_it_states_ends_in_a_row(name, pixels, tmp_path):
    write, pattern = CONTAINERS[name]
    write(tmp_path / name, pixels)
    if name.endswith(".npz"):
        with io.BytesIO() as array:
            np.save(array, pixels)
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("x.npy", array.getvalue() + b"more")
    else:
        more = gzip.compress(b"more") if name.endswith(".gz") else b"more"
        with (tmp_path / name).open("ab") as file:
            file.write(more)
    losses = Losses()
    items = list(sources.stream([Path(name)], Choice(), losses))
    assert ids(items) == [*(pattern.format(number) for number in range(COUNT)), name]
    assert "expected 5 images, as the header says, got more data" in _reason(items[-1])
    assert losses == Losses(broken=1)


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name != "folder"])
def test_source_cut_short_is_counted(name, pixels, tmp_path):
    CONTAINERS[name][0](tmp_path / name, pixels)
    whole = (tmp_path / name).read_bytes()
    for share in (0.4, 0.6):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        losses = Losses()
        list(sources.stream([tmp_path / name], Choice(), losses))
        assert losses.broken == 1


def test_links_and_other_members_are_counted(pixels, tmp_path):
    png = images.encode_png(pixels[0])
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("a.png", tarfile.REGTYPE), ("b.png", tarfile.SYMTYPE), ("c", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(png) * (name == "a.png"), "a.png"
            archive.addfile(member, io.BytesIO(png))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", png)
        archive.writestr("README.txt", "no image")
        link = zipfile.ZipInfo("b.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "a.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes(png)
    (tmp_path / "folder" / "up").symlink_to(tmp_path)
    for name, skipped in (("a.tar", 1), ("a.zip", 2), ("folder", 1)):
        losses = Losses()
        assert len(list(sources.stream([Path(name)], Choice(), losses))) == 1
        assert losses == Losses(skipped=skipped)


def encrypted_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"secret")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of encryption in the local header
    data[data.rindex(b"PK\x01\x02") + 8] |= 1  # and in the directory of the archive
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
    "encrypted.zip": (encrypted_zip, "is encrypted"),
    "text.zip": (lambda path: path.write_text("text"), "not a zip file"),
    "text.tar": (lambda path: path.write_text("text"), "cannot be read: "),
    "bomb.tar": (bomb_tar, "got 8,589,934,592; pack it again"),
    "text.parquet": (lambda path: path.write_text("text" * 9), "cannot be read: Parquet magic bytes not found"),
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
    "pipe.png": (os.mkfifo, "names no file or folder"),
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


@pytest.mark.parametrize("name", sorted(CONTAINERS.keys() - {"folder"}))
def test_damage_never_escapes_as_another_error(name, pixels, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / name
    CONTAINERS[name][0](path, pixels)
    whole = path.read_bytes()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=8))
    def damage(changes):
        data = bytearray(whole)
        for position, value in changes:
            data[position] = value
        path.write_bytes(data)
        for item in itertools.islice(sources.stream([path], Choice(), Losses()), 10):
            _reason(item)

    damage()
