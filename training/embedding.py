"""Real and generated images in the plane, by t-SNE and UMAP of a network's features, and how far they overlap."""

from importlib import import_module
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE

from service.images import Pixels
from training import metrics, plots
from training.evaluate import Metric
from training.features import Floats, Network

IMAGES = 1000


def embed(network: Network, real: Pixels, generated: Pixels, data: str, path: Path, seed: int = 0) -> Metric:
    """Write both embeddings of `real` and `generated` pixels [N, H, W, 3] to the PNG file `path`; return the overlap.

    The overlap is metrics.two_sample_accuracy of the features themselves, 0.5 at best: an embedding can make two sets
    look alike or apart that are not.
    """
    seen = [network(pixels).features for pixels in (real, generated)]
    both = np.concatenate(seen)
    plots.embeddings({"t-SNE": tsne(both, seed), "UMAP": umap(both, seed)}, len(real), network.name, path)
    accuracy = metrics.two_sample_accuracy(*seen)
    deviation = float(np.sqrt(accuracy * (1 - accuracy) / len(both)))
    name = f"two_sample_accuracy.{network.name}"
    return Metric(name, accuracy, deviation, len(both), 1, data, metrics.GENERATED_SPLIT, "scikit-learn")


def tsne(features: Floats, seed: int) -> Floats:
    """Return `features` [N, D] as points [N, 2] by t-SNE (van der Maaten and Hinton, 2008)."""
    points: Floats = TSNE(random_state=seed).fit_transform(features)
    return points


def umap(features: Floats, seed: int) -> Floats:
    """Return `features` [N, D] as points [N, 2] by UMAP (arXiv:1802.03426)."""
    module = import_module("umap")  # takes seconds, which every other command would pay for at the top of this file
    points: Floats = module.UMAP(random_state=seed, n_jobs=1).fit_transform(features)
    return points
