from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import embedding


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    left, right = np.random.default_rng(0).standard_normal((2, 40, 8)).astype(np.float32)
    return left, right + 10


@pytest.mark.parametrize("method", [embedding.tsne, embedding.umap])
def test_points_are_the_same_again_and_clusters_stay_apart(method, clusters: tuple[np.ndarray, np.ndarray]):
    features = np.concatenate(clusters)
    points = method(features)
    assert np.array_equal(points, method(features))
    left, right = points[:40], points[40:]
    assert np.linalg.norm(left.mean(axis=0) - right.mean(axis=0)) > left.std() + right.std()


def test_both_embeddings_stand_side_by_side(clusters: tuple[np.ndarray, np.ndarray], tmp_path: Path):
    embedding.write(*clusters, "lite0", tmp_path / "embedding.png")
    with Image.open(tmp_path / "embedding.png") as picture:
        assert picture.width > 1.8 * picture.height
