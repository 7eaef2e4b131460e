"""Array files are read one image at a time; what is no array of images is refused."""

import gzip

import numpy as np
import pytest

from service.batch import array_files
from service.errors import SourceError

IDX_HEADER = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3])  # uint8 [2, 2, 3]


@pytest.mark.parametrize(("name", "pack"), [("a-ubyte", bytes), ("a.gz", gzip.compress)])
def test_an_idx_file_is_read_by_its_header(name, pack, tmp_path):
    (tmp_path / name).write_bytes(pack(IDX_HEADER + bytes(range(12))))
    found = dict(array_files.read_idx(tmp_path / name))
    assert list(found) == [f"{tmp_path}/{name}[0]", f"{tmp_path}/{name}[1]"]
    np.testing.assert_array_equal(list(found.values()), np.arange(12).reshape(2, 2, 3))


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_npy_file_of_either_version_is_read(version, tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, pixels, version)
    np.testing.assert_array_equal([image for _, image in array_files.read_npy(tmp_path / "a.npy")], pixels)


def test_the_only_array_of_images_in_an_npz_file_needs_no_key(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 4, 4), np.uint8), y=np.arange(2))
    assert [name for name, _ in array_files.read_npz(tmp_path / "a.npz", None)] == [
        f"{tmp_path}/a.npz/x[0]",
        f"{tmp_path}/a.npz/x[1]",
    ]
    with pytest.raises(SourceError, match=r"y: expected uint8 images .*, got int64 \[2\]"):
        list(array_files.read_npz(tmp_path / "a.npz", "y"))


def test_npy_header_is_bounded_before_it_is_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b"{")
    with pytest.raises(ValueError, match="a header that is too long"):
        list(array_files.read_npy(tmp_path / "a.npy"))
