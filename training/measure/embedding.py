"""Real and generated images in the plane, by t-SNE and UMAP of a network's features."""

from importlib import import_module
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE

from training import plots
from training.measure.networks import Floats

IMAGES = 1000
SEED = 0


def write(real: Floats, generated: Floats, network: str, path: Path) -> None:
    """Write both embeddings of two sets of features [N, D], seen by `network`, side by side to the PNG file `path`."""
    both = np.concatenate([real, generated])
    plots.embeddings({"t-SNE": tsne(both), "UMAP": umap(both)}, len(real), network, path)


def tsne(features: Floats) -> Floats:
    """Return `features` [N, D] as points [N, 2] by t-SNE (van der Maaten and Hinton, 2008)."""
    points: Floats = TSNE(random_state=SEED).fit_transform(features)
    return points


def umap(features: Floats) -> Floats:
    """Return `features` [N, D] as points [N, 2] by UMAP (arXiv:1802.03426)."""
    module = import_module("umap")  # takes seconds: at the top of the file every command would wait for it
    points: Floats = module.UMAP(random_state=SEED, n_jobs=1).fit_transform(features)
    return points
