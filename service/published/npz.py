"""Arrays from the .npz files of a published model, in memory that is bounded whatever the file holds."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ArtifactError

MAX_BYTES = 256 * 2**20  # of all arrays of a file once unpacked


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file by name; ArtifactError if it is damaged, pickled or larger than MAX_BYTES."""
    try:
        _check_bytes(path)
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except ArtifactError:
        raise
    except Exception as error:  # noqa: BLE001 (zipfile, its decoders and NumPy's parser share no base, and exhaust memory)
        raise _no_arrays(path, str(error).partition("\n")[0] or type(error).__name__) from None
    for name, array in found.items():
        if not isinstance(array, np.ndarray):  # np.load gives the bytes of what does not begin as an array does
            raise _no_arrays(path, f"other contents, called {name[:40]!r}")
    return found


def _check_bytes(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())  # zipfile reads no more than this
    if unpacked > MAX_BYTES:
        raise ArtifactError(
            f"{path}: expected at most {MAX_BYTES:,} bytes of arrays, got {unpacked:,}; publish the model again"
        )


def _no_arrays(path: Path, found: str) -> ArtifactError:
    return ArtifactError(f"{path}: expected an .npz file of arrays, got {found}; publish the model again")
