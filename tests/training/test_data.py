import numpy as np
import pytest
import torch

from training import data
from training.errors import DataError


def test_held_out_parts_are_disjoint_complete_and_seeded():
    pixels = np.arange(1000, dtype=np.uint16).view(np.uint8).reshape(1000, 1, 2)  # every image another one
    split, again, other = (data.split_normal(pixels, seed) for seed in (1, 1, 2))
    parts = (split.fit, split.validation)
    assert [len(part) for part in parts] == [900, 100]
    assert len(np.unique(np.concatenate(parts).view(np.uint16))) == 1000
    assert np.array_equal(split.validation, again.validation)
    assert not np.array_equal(split.validation, other.validation)
    assert not split.is_grouped


def test_whole_groups_are_held_out():
    groups = np.arange(300) // 7
    split = data.split_normal(np.zeros((300, 2, 2), np.uint8), 0, groups)
    assert split.is_grouped
    assert set(groups[split.held_out]).isdisjoint(groups[~split.held_out])
    assert 15 <= split.held_out.sum() <= 30
    with pytest.raises(DataError, match="at least 2 among the normal images"):
        data.split_normal(np.zeros((30, 2, 2), np.uint8), 0, np.zeros(30, np.int64))


def test_pixels_become_images_between_minus_one_and_one():
    images_ = data.to_images(torch.tensor([[[0, 255]]], dtype=torch.uint8))
    assert images_.shape == (1, 1, 1, 2)
    assert images_.flatten().tolist() == [-1, 1]


def test_too_few_normal_images_are_refused():
    with pytest.raises(DataError, match="at least 20, got 3"):
        data.split_normal(np.zeros((3, 8, 8), np.uint8), 0)
