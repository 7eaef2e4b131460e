"""Data sets as uint8 pixels with labels: torchvision's by name, or a user's folder or .npz; grey or in colour."""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import datasets

from service import images
from service.errors import ImageError
from training.errors import DataError

IMAGE_SIZE = 32
VALIDATION_SHARE, MAX_VALIDATION = 0.1, 500
MIN_NORMAL_IMAGES = 20  # with fewer no p-value is as low as 0.05

QMNIST = {"train": 60_000, "test": 10_000}  # its test rows begin with MNIST's

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """`pixels` uint8 [N, size, size] or [N, size, size, 3], `labels` int64 [N], indices into the data set's class names.

    `groups` int64 [N], where they are known, say which images belong together: those of one writer, device or day.
    """

    pixels: images.Pixels
    labels: Labels
    groups: Labels | None = None

    def to(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pixels and labels as tensors on `device`."""
        return torch.from_numpy(self.pixels).to(device), torch.from_numpy(self.labels).to(device)

    def of(self, classes: Sequence[int]) -> images.Pixels:
        """Return the pixels whose label is one of `classes`."""
        return self.pixels[np.isin(self.labels, classes)]

    def groups_of(self, classes: Sequence[int]) -> Labels | None:
        """Return the groups of the same images, None where they are not known."""
        return None if self.groups is None else self.groups[np.isin(self.labels, classes)]


@dataclass(frozen=True)
class DataSet:
    """A training split and a test split, which may be empty for a user's own images."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split

    def normal(self, classes: Iterable[str], seed: int) -> "NormalSplit":
        """Return the training images of the normal `classes`, split as a run with this `seed` splits them."""
        labels = self.indices(classes)
        return split_normal(self.train.of(labels), seed, self.train.groups_of(labels))

    def indices(self, classes: Iterable[str]) -> list[int]:
        """Return the label of each class, given by name or by index; DataError lists the names there are."""
        return [self._index(name.strip()) for name in classes]

    @cached_property
    def sha256(self) -> str:
        """Return one hash over all pixels and labels."""
        digest = hashlib.sha256()
        for array in (self.train.pixels, self.train.labels, self.test.pixels, self.test.labels):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def _index(self, name: str) -> int:
        if name in self.class_names:
            return self.class_names.index(name)
        if name.isdecimal() and int(name) < len(self.class_names):
            return int(name)
        raise DataError(f"class {name!r}: expected one of: {', '.join(self.class_names)}, or an index; choose one")


@dataclass(frozen=True)
class NormalSplit:
    """Normal training images `pixels` [n, S, S], the group of each [n], and which of them are held out [n].

    The autoencoder is fitted on those that are not held out, and watched and standardised on those that are. The density is
    fitted on all. Groups, such as writers, are never split; without any every image is a group of its own.
    """

    pixels: images.Pixels
    groups: Labels
    held_out: NDArray[np.bool_]

    @property
    def is_grouped(self) -> bool:
        """Whether some images belong together."""
        return len(np.unique(self.groups)) < len(self.groups)

    @property
    def fit(self) -> images.Pixels:
        """What the autoencoder is fitted on."""
        return self.pixels[~self.held_out]

    @property
    def validation(self) -> images.Pixels:
        """What the autoencoder is watched on."""
        return self.pixels[self.held_out]


def unlabelled(pixels: images.Pixels) -> Split:
    """Return `pixels` as a split in which all labels are 0."""
    return Split(pixels, np.zeros(len(pixels), np.int64))


@lru_cache(maxsize=1)
def load_colour(name: str, root: Path) -> DataSet:
    """Return a data set in colour, pixels [N, 32, 32, 3]: cifar10, downloaded to `root` if not there, or an .npz file."""
    if name == "cifar10":
        class_names, parts = _torchvision(name, root)
        return DataSet(name, class_names, *(_colour(part.data, part.targets) for part in parts))
    if Path(name).suffix == ".npz" and Path(name).is_file():
        return _npz(Path(name), _colour)
    raise DataError(f"data set {name!r}: expected cifar10 or an .npz file of images in colour; use --data cifar10")


def split_watched(split: Split, seed: int, share: float = 0.02) -> tuple[Split, Split]:
    """Return `split` in a seeded part to fit on and one of `share` to watch the training on, never fitted on."""
    order = np.random.default_rng(seed).permutation(len(split.pixels))
    watched = int(len(order) * share)
    fit, held_out = (Split(split.pixels[part], split.labels[part]) for part in (order[watched:], order[:watched]))
    return fit, held_out


@lru_cache(maxsize=1)  # one run, and the whole of a suite, read their images once
def load(name: str, root: Path, size: int, *, invert: bool = False) -> DataSet:
    """Return the data set `name`: one of torchvision's in NAMED (downloaded to `root` if not there), a folder or .npz.

    A folder holds one subfolder of images per class, or `train` and `test` folders of such subfolders; a .npz holds
    x_train, y_train and, if there is a test split, x_test, y_test; an array `groups` says which images of x_train belong
    together. MNIST's groups are its writers, where the label files of QMNIST are in `root`/QMNIST/raw. `invert` states that images are dark on light.
    """
    if name in NAMED:
        return _named(name, root, size, invert)
    path = Path(name)
    if path.is_dir():
        return _folder(path, size, invert)
    if path.suffix == ".npz" and path.is_file():
        return _npz(path, lambda pixels, labels: _split(pixels, labels, size, invert))
    raise DataError(
        f"data set {name!r}: expected one of {', '.join(NAMED)}, an image folder or an .npz file; check the name"
    )


def split_normal(pixels: images.Pixels, seed: int, groups: Labels | None = None) -> NormalSplit:
    """Return normal training `pixels` with the held-out part that a run with this `seed` always gets.

    Held out are 10 % of the images and at most 500, in whole `groups` [n], where there are groups.
    """
    if len(pixels) < MIN_NORMAL_IMAGES:
        raise DataError(f"normal images: expected at least {MIN_NORMAL_IMAGES}, got {len(pixels)}; collect more")
    groups = np.arange(len(pixels)) if groups is None else groups
    names, counts = np.unique(groups, return_counts=True)
    if len(names) < 2:
        raise DataError("groups: expected at least 2 among the normal images, got 1; leave the groups out")
    order = np.random.default_rng(seed).permutation(len(names))
    wanted = min(MAX_VALIDATION, int(len(pixels) * VALIDATION_SHARE))
    whole = names[order[: max(1, int(np.searchsorted(np.cumsum(counts[order]), wanted, side="right")))]]
    return NormalSplit(pixels, np.asarray(groups, np.int64), np.isin(groups, whole))


def to_images(pixels: torch.Tensor) -> torch.Tensor:
    """Return uint8 `pixels` [N, H, W] or [N, H, W, 3] as float images [N, 1 or 3, H, W] in [-1, 1]."""
    channels_first = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return channels_first.float() / 127.5 - 1


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
    """Return who wrote each image of MNIST, in its order, from the label files of QMNIST (arXiv:1905.10498); None without.

    torchvision's QMNIST keeps them in `root`/QMNIST/raw: 539 writers of training images and 297 others of test images.
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
            f"{path}: expected the label file of QMNIST, got: {error}; remove it or load it again"
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
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (32, 32, 3):
        raise DataError(f"images: expected uint8 [N, 32, 32, 3], got {pixels.dtype} {list(pixels.shape)}; convert them")
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
                f"{path}: expected groups of {len(train.labels)} images, got {list(arrays['groups'].shape)}"
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


def _folder(path: Path, size: int, invert: bool) -> DataSet:
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
    train_split, test_split = (_read_classes(part, class_names, size, invert) for part in (train, test))
    return DataSet(path.resolve().name, tuple(class_names), train_split, test_split)


def _read_classes(path: Path, class_names: Sequence[str], size: int, invert: bool) -> Split:
    files = [
        (file, label)
        for label, name in enumerate(class_names)
        for file in sorted((path / name).rglob("*"))
        if file.suffix.lower() in images.SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        return _empty(size)
    pixels = np.stack([_read_image(file, size, invert) for file, _ in files])
    return Split(pixels, np.array([label for _, label in files], np.int64))


def _read_image(path: Path, size: int, invert: bool) -> images.Pixels:
    try:
        return images.decode(path.read_bytes(), size, invert=invert)
    except (OSError, ImageError) as error:
        raise DataError(f"{path}: {error}") from None
