"""What trainings are given: splits of pixels with labels and groups, their held-out parts, and examples on a device."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from service import images
from service.errors import one_of
from training.errors import DataError

VALIDATION_SHARE, MAX_VALIDATION = 0.1, 500
MIN_NORMAL_IMAGES = 20  # with fewer no p-value is as low as 0.05
UNKNOWN = -1  # in place of the number of a group

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """What a learner is given: `inputs`, pixels uint8 [N, H, W] or [N, H, W, 3] or features [N, F], and `labels` [N]."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, chosen: torch.Tensor) -> "Examples":
        return Examples(self.inputs[chosen], self.labels[chosen])

    def to(self, device: torch.device) -> "Examples":
        """Return the same examples on `device`."""
        return Examples(self.inputs.to(device), self.labels.to(device))

    def network_inputs(self) -> torch.Tensor:
        """Return pixels as images, float [N, C, H, W] in [-1, 1], and features [N, F] as they are."""
        return to_images(self.inputs) if self.inputs.dtype == torch.uint8 else self.inputs


@dataclass(frozen=True)
class Split:
    """`pixels` uint8 [N, size, size] or [N, size, size, 3], `labels` int64 [N], indices into the data set's class names.

    `groups` int64 [N], where they are known, number the writers, devices or days that the images come from. UNKNOWN stands
    for an image whose group is not known.
    """

    pixels: images.Pixels
    labels: Labels
    groups: Labels | None = None

    def examples(self) -> Examples:
        """Return pixels and labels as examples for a learner."""
        return Examples(torch.from_numpy(self.pixels), torch.from_numpy(self.labels))

    def of(self, classes: Sequence[int]) -> images.Pixels:
        """Return the pixels whose label is one of `classes`."""
        return self.pixels[np.isin(self.labels, classes)]

    def sample(self, count: int, seed: int) -> "Split":
        """Return `count` images of this split, or all if there are fewer, in random order by `seed`; groups are left out."""
        chosen = np.random.default_rng(seed).permutation(len(self.pixels))[:count]
        return Split(self.pixels[chosen], self.labels[chosen])

    def groups_of(self, classes: Sequence[int]) -> Labels | None:
        """Return the groups of the images whose label is one of `classes`; None if groups are not known."""
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
        """Return the label of each class, given by name or by index; DataError lists the known names."""
        return [self._index(name.strip()) for name in classes]

    @cached_property
    def sha256(self) -> str:
        """Return one hash over all pixels and labels."""
        digest = hashlib.sha256()
        for array in (self.train.pixels, self.train.labels, self.test.pixels, self.test.labels):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @cached_property
    def groups_sha256(self) -> str:
        """Return one hash over the groups of the training images; the hash of nothing where none are known."""
        groups = self.train.groups
        return hashlib.sha256(b"" if groups is None else np.ascontiguousarray(groups).data).hexdigest()

    def _index(self, name: str) -> int:
        if name in self.class_names:
            return self.class_names.index(name)
        if name.isdecimal() and int(name) < len(self.class_names):
            return int(name)
        told = one_of(name, self.class_names, f"choose one, or an index below {len(self.class_names)}")
        raise DataError(f"class {name!r}: {told}")


@dataclass(frozen=True)
class NormalSplit:
    """Normal training images: `pixels` [n, S, S], their `groups` [n], and which images are `held_out` [n].

    The autoencoder is fitted on the images that are not held out. The held-out images serve to watch and to standardise
    it. The density is fitted on all images. A group, such as a writer, is never split. Without groups every image is its
    own group.
    """

    pixels: images.Pixels
    groups: Labels
    held_out: NDArray[np.bool_]

    @property
    def is_grouped(self) -> bool:
        """Whether some group has several images."""
        return len(np.unique(self.groups)) < len(self.groups)

    @property
    def fit(self) -> images.Pixels:
        """The images that the autoencoder is fitted on [n, S, S]."""
        return self.pixels[~self.held_out]

    @property
    def validation(self) -> images.Pixels:
        """The held-out images [n, S, S]."""
        return self.pixels[self.held_out]


def unlabelled(pixels: images.Pixels) -> Split:
    """Return `pixels` as a split in which all labels are 0."""
    return Split(pixels, np.zeros(len(pixels), np.int64))


def split_watched(split: Split, seed: int, share: float = 0.02) -> tuple[Split, Split]:
    """Return two seeded parts of `split`: one to fit on, and a `share` of the images that only watch the training."""
    order = np.random.default_rng(seed).permutation(len(split.pixels))
    watched = int(len(order) * share)
    fit, held_out = (Split(split.pixels[part], split.labels[part]) for part in (order[watched:], order[:watched]))
    return fit, held_out


def split_normal(pixels: images.Pixels, seed: int, groups: Labels | None = None) -> NormalSplit:
    """Return normal training `pixels` with the held-out part that a run with this `seed` always gets.

    The held-out part is 10 % of the images, at most 500, in whole `groups` [n]. DataError if there are too few images.
    """
    if len(pixels) < MIN_NORMAL_IMAGES:
        raise DataError(f"normal images: expected at least {MIN_NORMAL_IMAGES}, got {len(pixels)}; collect more")
    groups = np.arange(len(pixels)) if groups is None else groups
    unknown = int(np.sum(groups == UNKNOWN))
    if unknown:
        raise DataError(
            f"groups: expected one for each of {len(pixels):,} normal images, got none for {unknown:,}; add them"
        )
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
