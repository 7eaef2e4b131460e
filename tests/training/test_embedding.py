from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import embedding
from training.features import Features


class Means:
    """A network that sees the mean of every 8 x 8 block of an image."""

    name = "lite0"

    def __call__(self, pixels: np.ndarray) -> Features:
        means = pixels.reshape(len(pixels), 4, 8, 4, 8, 3).mean(axis=(2, 4, 5)).reshape(len(pixels), 16)
        return Features(means.astype(np.float32), means[:, :10].astype(np.float32))


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (80, 32, 32, 3), np.uint8)


def test_a_brighter_set_is_told_apart_and_pictured(noise: np.ndarray, tmp_path: Path):
    metric = embedding.embed(Means(), noise[:40], noise[40:] + 50, "noise", tmp_path / "embedding.png")
    assert (metric.name, metric.value, metric.samples) == ("two_sample_accuracy.lite0", 1, 80)
    assert Image.open(tmp_path / "embedding.png").size[0] > 500


@pytest.mark.parametrize("method", [embedding.tsne, embedding.umap])
def test_points_depend_on_the_seed_alone_and_keep_clusters_apart(method, noise: np.ndarray):
    features = np.concatenate([Means()(noise[:40]).features, Means()(noise[40:] + 50).features])
    points = method(features, seed=1)
    assert np.array_equal(points, method(features, seed=1))
    left, right = points[:40], points[40:]
    gap = np.linalg.norm(left.mean(axis=0) - right.mean(axis=0))
    assert gap > left.std() + right.std()
