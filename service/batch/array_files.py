"""Arrays of images in IDX, .npy and .npz files, read one image at a time, so that a file may be larger than memory.

Each reader yields (id, pixels) with pixels uint8 [H, W] or [H, W, 3]. An id is `file[17]` or `file.npz/key[17]`. Readers
raise SourceError for an array of anything but images. The errors of damaged files pass through them.
"""

import gzip
import io
import math
import struct
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from service.errors import SourceError
from service.images import MAX_IMAGE_SIDE, Pixels

IDX_UINT8 = 8
MAX_HEADER_BYTES = 10_000  # NumPy's limit

Images = Iterator[tuple[str, Pixels]]


class Readable(Protocol):
    """An open binary file, possibly decompressed while it is read."""

    def read(self, count: int = ..., /) -> bytes:
        """Return the next `count` bytes, or fewer at the end of the file."""
        ...


def read_idx(path: Path) -> Images:
    """Yield the images of an IDX file (http://yann.lecun.com/exdb/mnist), which is gzipped if its name ends in .gz."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        magic = _read_exactly(file, 4)
        zeros, kind, dimensions = struct.unpack(">HBB", magic)
        if zeros:
            raise SourceError(
                f"{path}: expected an IDX file, which begins with 00 00 08 03, got {magic.hex(' ')}; check the file"
            )
        shape = struct.unpack(f">{dimensions}I", _read_exactly(file, 4 * dimensions))
        yield from _rows(file, path.as_posix(), "uint8" if kind == IDX_UINT8 else f"IDX type {kind:#x}", shape)


def read_npy(path: Path) -> Images:
    """Yield the images of a .npy file."""
    with path.open("rb") as file:
        yield from _array(file, path.as_posix())


def read_npz(path: Path, key: str | None) -> Images:
    """Yield the images of the array `key` in an .npz file; None takes the only array of three or four dimensions."""
    with zipfile.ZipFile(path) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        fitting = [name for name in keys if name == key or (key is None and _may_hold_images(archive, name))]
        if len(fitting) != 1:
            raise SourceError(f"{path}: expected one array of images, got {', '.join(keys) or 'none'}; choose by --key")
        with archive.open(f"{fitting[0]}.npy") as file:
            yield from _array(file, f"{path.as_posix()}/{fitting[0]}")


def _may_hold_images(archive: zipfile.ZipFile, key: str) -> bool:
    with archive.open(f"{key}.npy") as file:
        return len(_header(file)[0]) in (3, 4)


def _header(file: Readable) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    is_first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    length = _read_exactly(file, 2 if is_first else 4)
    if int.from_bytes(length, "little") > MAX_HEADER_BYTES:  # NumPy reads the header before it checks the length
        raise ValueError("a header that is too long")
    header = io.BytesIO(length + _read_exactly(file, int.from_bytes(length, "little")))
    try:
        return read(header)
    except (SyntaxError, tokenize.TokenError):  # NumPy parses the header as Python
        raise ValueError("a damaged header") from None


def _array(file: Readable, name: str) -> Images:
    shape, is_fortran, dtype = _header(file)
    if is_fortran:
        raise SourceError(f"{name}: expected an array in C order, got Fortran order; apply numpy.ascontiguousarray")
    yield from _rows(file, name, str(dtype), shape)


def _rows(file: Readable, name: str, dtype: str, shape: tuple[int, ...]) -> Images:
    sides_fit = all(0 < side <= MAX_IMAGE_SIDE for side in shape[1:3])
    if dtype != "uint8" or len(shape) not in (3, 4) or shape[3:] not in ((), (3,)) or not sides_fit:
        raise SourceError(
            f"{name}: expected uint8 images [N, H, W] or [N, H, W, 3], at most {MAX_IMAGE_SIDE} pixels a side, "
            f"got {dtype} {list(shape)}; convert them, 0 for black and 255 for white"
        )
    for index in range(shape[0]):
        data = _read_exactly(file, math.prod(shape[1:]))
        yield f"{name}[{index}]", np.frombuffer(data, np.uint8).reshape(shape[1:])
    if file.read(1):
        raise SourceError(f"{name}: expected {shape[0]:,} images, as the header says, got more data; check the file")


def _read_exactly(file: Readable, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("a file that was cut short")
    return data
