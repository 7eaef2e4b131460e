"""The same images in every kind of container, and a function that reads a container as the command does."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from service import images
from service.batch import sources
from service.batch.sources import Choice
from service.batch.tally import Losses

SIZE = 32
COUNT = 5
NAMES = [f"{number}/{number}.png" for number in range(COUNT)]


def read(*patterns, choice=Choice()):  # noqa: B008
    """Return the items of sources as the command reads them: find, check, stream."""
    paths = sources.find(patterns)
    sources.check(paths, choice)
    return list(sources.stream(paths, choice, Losses()))


def ids(items):
    return [item.id for item in items]


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


def write_classes(root, classes):
    """Write images by class, or class/group, as root/CLASS/000.png and so on; return `root`."""
    for name, pixels in classes.items():
        (root / name).mkdir(parents=True)
        for number, image in enumerate(pixels):
            (root / name / f"{number:03}.png").write_bytes(images.encode_png(image))
    return root


def least_peak(run):
    """Return the fewest bytes that `run` allocated at once in three runs: other threads of the tests may allocate as well."""
    peaks = []
    for _ in range(3):
        tracemalloc.start()
        try:
            run()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)
