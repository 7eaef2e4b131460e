"""Data sets, grey or in colour: torchvision's by name, or a user's own folder or .npz file."""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

from service import images
from service.errors import ImageError, one_of
from service.published.grouping import FOLDER, first_folder, numbered, read_groups
from training.data import UNKNOWN, DataSet, Labels, Split
from training.errors import DataError
from training.switches import IMAGE_SIZE

QMNIST = {"train": 60_000, "test": 10_000}  # MNIST's images are the first rows of each label file


@lru_cache(maxsize=1)
def _place(name: str, root: Path) -> Path:
    """Return the path `name`, or the one of this name in `root` if only that exists."""
    there = root / Path(name).name
    return there if not Path(name).exists() and there.exists() else Path(name)


def load_colour(name: str, root: Path) -> DataSet:
    """Return a data set in colour, pixels [N, 32, 32, 3]: cifar10, downloaded to `root` if not there, or an .npz file."""
    if name == "cifar10":
        class_names, parts = _torchvision(name, root)
        return DataSet(name, class_names, *(_colour(part.data, part.targets) for part in parts))
    path = _place(name, root)
    if path.suffix == ".npz" and path.is_file():
        return _npz(path, _colour)
    raise DataError(f"data set {name!r}: expected cifar10 or an .npz file of images in colour; use --data cifar10")


@lru_cache(maxsize=1)  # a run, or a whole suite, reads its images once
def load(name: str, root: Path, size: int, *, invert: bool = False, groups: str | None = None) -> DataSet:
    """Return the data set `name`: one of torchvision's in NAMED (downloaded to `root` if not there), a folder or .npz.

    A folder holds one subfolder of images per class, or `train` and `test` folders of such subfolders. An .npz file holds
    x_train, y_train and, if there is a test split, x_test, y_test. Its array `groups`, if any, numbers the source of each
    image of x_train. MNIST's groups are its writers, if the label files of QMNIST are in `root`/QMNIST/raw. `groups` tells
    the groups of the training images of a folder or .npz: "folder" stands for the folders within the folder of a class.
    Otherwise it names a CSV file of columns id and group. An id is a place in the folder, or in the .npz: x_train[0].
    Folders and files that are not there are looked for in `root`, since manifests hold their names only. `invert` says that
    images are dark on light. DataError if the data set is not there, or holds something else.
    """
    if name in NAMED and groups is None:
        return _named(name, root, size, invert)
    path = _place(name, root)
    groups = groups if groups in (None, FOLDER) else str(_place(groups, root))
    if path.is_dir():
        return _folder(path, size, invert, groups)
    if path.suffix == ".npz" and path.is_file():
        loaded = _npz(path, lambda pixels, labels: _split(pixels, labels, size, invert))
        places = [f"x_train[{index}]" for index in range(len(loaded.train.labels))]
        return loaded if groups is None else _grouped(loaded, groups, path, places, [None] * len(places))
    if name in NAMED:
        raise DataError(
            f"groups {groups}: expected images of your own in a folder or .npz, got {name}; leave --groups out"
        )
    raise DataError(
        f"data set {name!r}: {one_of(name, NAMED, 'or give a folder of images or an .npz file, or its --data-root')}"
    )


def _emnist(root: Path, train: bool) -> Any:
    return datasets.EMNIST(root, split="balanced", train=train, download=True)


def _plain(factory: Callable[..., Any]) -> Callable[[Path, bool], Any]:
    return lambda root, train: factory(root, train=train, download=True)


NAMED: dict[str, Callable[[Path, bool], Any]] = {
    "mnist": _plain(datasets.MNIST),
    "fashion-mnist": _plain(datasets.FashionMNIST),
    "kmnist": _plain(datasets.KMNIST),
    "emnist": _emnist,
    "cifar10": _plain(datasets.CIFAR10),
}


def _torchvision(name: str, root: Path) -> tuple[tuple[str, ...], list[Any]]:
    try:
        parts = [NAMED[name](root, train) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"data set {name}: expected it in {root} or a download, got: {str(error).splitlines()[0]}; "
            "give --data-root or ODDGLYPH_DATA"
        ) from None
    return tuple(str(class_name) for class_name in parts[0].classes), parts


def _named(name: str, root: Path, size: int, invert: bool) -> DataSet:
    class_names, parts = _torchvision(name, root)
    if name in ("mnist", "kmnist"):
        class_names = tuple(label.split(" - ")[0] for label in class_names)
    splits = [_split(_upright(name, part.data), part.targets, size, invert) for part in parts]
    if name == "mnist":
        splits = [replace(split, groups=_writers(root, kind)) for split, kind in zip(splits, QMNIST, strict=True)]
    return DataSet(name, class_names, *splits)


def _writers(root: Path, kind: str) -> Labels | None:
    """Return who wrote each image of MNIST, in its order, by QMNIST's label files (arXiv:1905.10498); None without them.

    torchvision's QMNIST keeps the files in `root`/QMNIST/raw. 539 writers wrote training images, 297 others test images.
    """
    path = root / "QMNIST" / "raw" / f"qmnist-{kind}-labels-idx2-int.gz"
    if not path.exists():
        return None
    try:
        with gzip.open(path) as file:
            head, rows = file.read(12), file.read()
        return np.frombuffer(rows, ">i4").reshape(-1, head[11])[: QMNIST[kind], 2].astype(np.int64)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(
            f"{path}: expected the label file of QMNIST, got: {error}; remove it or download it again"
        ) from None


def _upright(name: str, pixels: Any) -> NDArray[Any]:
    array = np.asarray(pixels)
    return array.transpose(0, 2, 1) if name == "emnist" else array  # EMNIST's files hold every image transposed


def _split(pixels: NDArray[Any], labels: Any, size: int, invert: bool) -> Split:
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != 3):
        raise DataError(
            f"images: expected uint8 [N, H, W] or [N, H, W, 3], got {pixels.dtype} {list(pixels.shape)}; convert them"
        )
    grey = images.to_grey(pixels) if pixels.ndim == 4 else np.ascontiguousarray(pixels)
    return Split(images.fit(grey, size, invert=invert), _indices(labels, len(grey)))


def _colour(pixels: NDArray[Any], labels: Any) -> Split:
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise DataError(
            f"images: expected uint8 [N, {IMAGE_SIZE}, {IMAGE_SIZE}, 3], got {pixels.dtype} {list(pixels.shape)}; convert them"
        )
    return Split(pixels, _indices(labels, len(pixels)))


def _indices(labels: Any, count: int) -> Labels:
    indices = np.asarray(labels, np.int64)
    if indices.shape != (count,):
        raise DataError(f"labels: expected {count}, one an image, got {list(indices.shape)}; check the file")
    return indices


def _empty(size: int) -> Split:
    return Split(np.empty((0, size, size), np.uint8), np.empty(0, np.int64))


def _npz(path: Path, split: Callable[[NDArray[Any], Labels], Split]) -> DataSet:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: expected an .npz of plain arrays, got: {error}; save it with numpy.savez") from None
    missing = {"x_train", "y_train"} - arrays.keys()
    if missing:
        raise DataError(f"{path}: expected arrays x_train and y_train, got {', '.join(arrays)}; add {min(missing)}")
    names = np.unique(arrays["y_train"])
    has_test = "x_test" in arrays and "y_test" in arrays
    if has_test:
        names = np.concatenate([names, np.setdiff1d(arrays["y_test"], names)])
    train = split(arrays["x_train"], _positions(names, arrays["y_train"]))
    if "groups" in arrays:
        if arrays["groups"].shape != train.labels.shape:
            raise DataError(
                f"{path}: expected groups [{len(train.labels)}], got {list(arrays['groups'].shape)}; "
                "give one number an image"
            )
        train = replace(train, groups=np.unique(arrays["groups"], return_inverse=True)[1].astype(np.int64))
    test = (
        split(arrays["x_test"], _positions(names, arrays["y_test"]))
        if has_test
        else Split(train.pixels[:0], train.labels[:0])
    )
    return DataSet(path.stem, tuple(str(name) for name in names), train, test)


def _positions(names: NDArray[Any], labels: NDArray[Any]) -> Labels:
    return np.asarray(np.argmax(np.asarray(labels)[:, None] == names, axis=1), np.int64)


def _grouped(
    loaded: DataSet, told_by: str, path: Path, places: Sequence[str], folders: Sequence[str | None]
) -> DataSet:
    """Return `loaded` with the groups of its training images, which have `places` in `path` and lie in `folders` [N].

    A class may have no groups at all. DataError if some images of a class have one and others none.
    """
    table = {} if told_by == FOLDER else read_groups(Path(told_by))
    named = [table.get(place) or table.get((path / place).as_posix()) for place in places] if table else list(folders)
    known = np.array([name is not None for name in named], np.bool_)
    labels = loaded.train.labels
    missing = np.flatnonzero(~known & np.isin(labels, labels[known]))
    if len(missing) or not known.any():
        first = places[missing[0]] if len(missing) else places[0]
        how = "in the folder of its group, CLASS/GROUP/image.png" if told_by == FOLDER else f"in {told_by}"
        raise DataError(f"{path}: expected the group of {first} {how}, got none; add it")
    numbers = np.full(len(named), UNKNOWN, np.int64)
    numbers[known] = numbered([name for name in named if name is not None])
    return replace(loaded, train=replace(loaded.train, groups=numbers))


def _folder(path: Path, size: int, invert: bool, groups: str | None) -> DataSet:
    has_splits = (path / "train").is_dir()
    train, test = (path / "train", path / "test") if has_splits else (path, path / "-")
    class_names = sorted(
        {
            child.name
            for part in (train, test)
            if part.is_dir()
            for child in part.iterdir()
            if child.is_dir() and not child.name.startswith(".")
        }
    )
    if not class_names:
        raise DataError(f"{path}: expected one subfolder of images per class, found none; sort the images into folders")
    train_split, test_split = (_read(_files(part, class_names), size, invert) for part in (train, test))
    loaded = DataSet(path.resolve().name, tuple(class_names), train_split, test_split)
    if groups is None:
        return loaded
    files = [file for file, _ in _files(train, class_names)]
    places = [file.relative_to(path).as_posix() for file in files]
    folders = [first_folder(PurePath(*file.relative_to(train).parts[1:]).as_posix()) for file in files]
    return _grouped(loaded, groups, path, places, folders)


def _files(path: Path, class_names: Sequence[str]) -> list[tuple[Path, int]]:
    """Return the image files in the folders `class_names` of `path`, in order, and the label of each."""
    return [
        (file, label)
        for label, name in enumerate(class_names)
        for file in sorted((path / name).rglob("*"))
        if file.suffix.lower() in images.SUFFIXES and not file.name.startswith(".")
    ]


def _read(files: Sequence[tuple[Path, int]], size: int, invert: bool) -> Split:
    if not files:
        return _empty(size)
    pixels = np.stack([_read_image(file, size, invert) for file, _ in files])
    return Split(pixels, np.array([label for _, label in files], np.int64))


def _read_image(path: Path, size: int, invert: bool) -> images.Pixels:
    try:
        return images.decode(path.read_bytes(), size, invert=invert)
    except (OSError, ImageError) as error:
        raise DataError(f"{path}: {error}") from None
