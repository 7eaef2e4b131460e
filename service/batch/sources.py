"""Batch sources as one stream of images. Only the current image is in memory.

The name tells the kind of a source: a folder, `.npy`, `.npz`, `.zip`, `.tar` (`.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`),
`.parquet`, or IDX (`-ubyte`, `.idx`, any other `.gz`). Any other file is one image. A folder is read with its subfolders,
in order of name and without hidden files. Archives are never extracted to disk.
"""

import glob
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

from pyarrow import parquet

from service import images
from service.batch import archive_files, array_files, files, parquet_files
from service.batch.tally import Losses
from service.errors import OddglyphError, SourceError


@dataclass(frozen=True)
class Choice:
    """The array of an .npz file and the column of a Parquet file to read. None means the only one with images.

    Choice()  # the only array or column of images
    Choice(key="x_test")  # one of several arrays in an .npz file
    Choice(column="image")  # one of several columns in a Parquet file
    """

    key: str | None = None
    column: str | None = None


@dataclass(frozen=True)
class Item:
    """One image of a source before it is decoded. `content` is an error if the image cannot be read."""

    id: str
    content: Path | bytes | images.Pixels | OddglyphError

    @property
    def size_bytes(self) -> int:
        """How many bytes the item holds in memory; a file is not read yet."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return 0 if isinstance(self.content, Path | OddglyphError) else self.content.nbytes

    def pixels(self, size: int, *, invert: bool = False) -> images.Pixels:
        """Return the image as grey uint8 pixels [size, size]; OddglyphError if it cannot be read or decoded."""
        content = _read_file(self.content) if isinstance(self.content, Path) else self.content
        if isinstance(content, OddglyphError):
            raise content
        if isinstance(content, bytes):
            return images.decode(content, size, invert=invert)
        batch = content[None]
        pixels: images.Pixels = images.fit(images.to_grey(batch) if batch.ndim == 4 else batch, size, invert=invert)[0]
        return pixels


Reader = Callable[[Path, Choice, Losses], Iterator[Item]]


def find(patterns: Sequence[str]) -> list[Path]:
    """Return the files and folders that `patterns`, paths or globs, name; SourceError if one of them names none."""
    return [path for pattern in patterns for path in _find(pattern)]


def check(paths: Sequence[Path], choice: Choice) -> None:
    """Raise SourceError for the first of `paths` that cannot be opened or holds no image."""
    for path in paths:
        with closing(_read(path, choice, Losses())) as items:
            if next(items, None) is None:
                suffixes = ", ".join(sorted(images.SUFFIXES))
                raise SourceError(
                    f"{path}: expected images ({suffixes}), found none; name a file or folder that holds some"
                )


def stream(paths: Sequence[Path], choice: Choice, losses: Losses) -> Iterator[Item]:
    """Yield the images in `paths`, in order, and count up `losses`.

    A source that breaks off yields an item with its error, and the next source follows.

        for item in stream(find(["digits/*.zip"]), Choice(), Losses()):
            item.pixels(32)
    """
    for path in paths:
        try:
            yield from _read(path, choice, losses)
        except SourceError as error:
            losses.broken += 1
            yield Item(path.as_posix(), error)


def _find(pattern: str) -> list[Path]:
    try:
        names = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        # `**` names all files in a folder one by one, so the folder itself would yield them a second time.
        found = [path for path in map(Path, names) if path.is_file() or (path.is_dir() and "**" not in pattern)]
    except OSError as error:
        raise SourceError(f"{pattern}: cannot be read: {files.reason(error)}; check the path") from None
    if not found:
        raise SourceError(f"{pattern}: names no file or folder; check the path")
    return found


def _read(path: Path, choice: Choice, losses: Losses) -> Generator[Item, None, None]:
    try:
        yield from _reader(path)(path, choice, losses)
    except files.DAMAGED as error:
        raise SourceError(f"{path}: is damaged or cannot be read: {files.reason(error)}; copy the file again") from None


def _reader(path: Path) -> Reader:
    if path.is_dir():
        return _folder
    name = path.name.lower()
    return next((reader for suffix, reader in READERS.items() if name.endswith(suffix)), _image)


def _image(path: Path, _: Choice, __: Losses) -> Iterator[Item]:
    yield Item(path.as_posix(), path)


def _folder(path: Path, choice: Choice, losses: Losses) -> Iterator[Item]:
    try:
        children = sorted(path.iterdir())
    except OSError as error:
        yield Item(path.as_posix(), files.unreadable("folder", error))
        return
    for child in children:
        if child.is_dir():
            if child.is_symlink():  # a link may lead back up
                losses.skipped += 1
            elif not child.name.startswith("."):
                yield from _folder(child, choice, losses)
        elif files.names_image(child.name) and child.is_file():
            yield from _image(child, choice, losses)


def _idx(path: Path, _: Choice, __: Losses) -> Iterator[Item]:
    return starmap(Item, array_files.read_idx(path))


def _npy(path: Path, _: Choice, __: Losses) -> Iterator[Item]:
    return starmap(Item, array_files.read_npy(path))


def _npz(path: Path, choice: Choice, _: Losses) -> Iterator[Item]:
    return starmap(Item, array_files.read_npz(path, choice.key))


def _zip(path: Path, _: Choice, losses: Losses) -> Iterator[Item]:
    return starmap(Item, archive_files.read_zip(path, losses))


def _tar(path: Path, _: Choice, losses: Losses) -> Iterator[Item]:
    return starmap(Item, archive_files.read_tar(path, losses))


def _parquet(path: Path, choice: Choice, _: Losses) -> Iterator[Item]:
    with parquet.ParquetFile(path, buffer_size=2**16) as file:
        column = parquet_files.image_column(path, file.schema_arrow, choice.column)
        parquet_files.check_pages(path, file, column)
        batches = file.iter_batches(1, columns=[column])  # more rows may repeat one large value of a dictionary
        rows = (row for batch in batches for row in batch.column(0).to_pylist())
        missing = SourceError("image: expected the bytes of an image file, got null; fill or remove the row")
        for index, row in enumerate(rows):
            data = row["bytes"] if isinstance(row, dict) else row
            yield Item(f"{path.as_posix()}[{index}]", missing if data is None else data)


READERS: dict[str, Reader] = {
    ".npy": _npy,
    ".npz": _npz,
    ".zip": _zip,
    ".tar": _tar,
    ".tar.gz": _tar,
    ".tgz": _tar,
    ".tar.bz2": _tar,
    ".tar.xz": _tar,
    ".parquet": _parquet,
    "ubyte": _idx,
    ".idx": _idx,
    ".gz": _idx,
}


def _read_file(path: Path) -> bytes | OddglyphError:
    try:
        return files.content(lambda: path.open("rb"), path.stat().st_size)
    except OSError as error:
        return files.unreadable("file", error)
