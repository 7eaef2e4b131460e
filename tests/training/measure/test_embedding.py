from pathlib import Path

import artifacts
import numpy as np
import pytest
from PIL import Image

from service.published import artifact
from service.published.generator import Generator
from training.data import DataSet, Split
from training.measure import embedding
from training.measure.generation import Judge
from training.measure.networks import Features


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


class Means:
    """A network that sees the mean colour of an image."""

    name = "lite0"
    class_names = ()

    def __call__(self, pixels: np.ndarray) -> Features:
        colours = pixels.mean(axis=(1, 2)).astype(np.float32)
        return Features(colours, colours)


def test_a_judge_puts_both_embeddings_side_by_side_into_the_folder(tmp_path: Path):
    generator = Generator(artifact.load(artifacts.write_generator(tmp_path / "colours")), "cpu")
    black = Split(np.zeros((40, 32, 32, 3), np.uint8), np.zeros(40, np.int64))
    (overlap,) = Judge(DataSet("black", ("none",), black, black), 40, [], Means()).measure(generator, tmp_path)
    assert (overlap.name, overlap.value, overlap.samples) == ("two_sample_accuracy.lite0", 1, 80)
    with Image.open(tmp_path / "embedding.png") as picture:
        assert picture.width > 1.8 * picture.height
