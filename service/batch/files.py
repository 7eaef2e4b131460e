"""The bytes of one image file, in a folder or an archive, and what goes wrong when they are read."""

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO

from service import images
from service.errors import OddglyphError, SourceError

PIECE_BYTES = 4096  # read at a time, since bzip2 and LZMA may unpack a piece to a thousand times its size

# The readers below raise these for damaged files. zlib, lzma and struct have error classes of their own.
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    tarfile.TarError,
)


def content(opened: Callable[[], IO[bytes] | None], size_bytes: int) -> bytes | OddglyphError:
    """Return the bytes of a file of `size_bytes`, or the error. Reading stops at MAX_IMAGE_BYTES, whatever a header says."""
    data = bytearray()
    try:
        images.check_bytes(size_bytes)
        with opened() or io.BytesIO() as file:
            while piece := file.read(PIECE_BYTES):
                data += piece
                images.check_bytes(len(data))
        return bytes(data)
    except OddglyphError as error:
        return error
    except DAMAGED as error:
        return unreadable("file", error)


def unreadable(what: str, error: Exception) -> SourceError:
    """Return the error of an image whose `what`, file or folder, cannot be read."""
    return SourceError(f"image: the {what} cannot be read: {reason(error)}; check it")


def names_image(name: str) -> bool:
    """Return whether the path `name` has a suffix of image files and no hidden part."""
    path = PurePosixPath(name)
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in images.SUFFIXES and not is_hidden


def reason(error: Exception) -> str:
    """Return what `error` says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
