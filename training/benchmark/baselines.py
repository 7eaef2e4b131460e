"""Detectors from scikit-learn and PyOD to compare ours with. A docstring says where an option is not the default."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pyod.models.deep_svdd import DeepSVDD
from skimage.feature import hog
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

from service.images import Pixels

Floats = NDArray[np.float64]
Score = Callable[[Pixels], Floats]
Fit = Callable[[Pixels, int], Score]  # fitted images and a seed

NEIGHBOURS = 5
CELL = 4
DEEP_SVDD_EPOCHS = 100


def pca(fitted: Pixels, seed: int) -> Score:
    """Return the reconstruction error by 100 principal components, or as many as there are images."""
    model = PCA(min(100, len(fitted)), random_state=seed).fit(flat(fitted))

    def score(pixels: Pixels) -> Floats:
        x = flat(pixels)
        error = np.square(x - model.inverse_transform(model.transform(x))).mean(axis=1)
        return np.asarray(error, np.float64)

    return score


def isolation_forest(fitted: Pixels, seed: int) -> Score:
    """Return the isolation forest's score, with 300 trees instead of 100; more trees bring no gain."""
    model = IsolationForest(n_estimators=300, random_state=seed).fit(flat(fitted))
    return lambda pixels: np.asarray(-model.score_samples(flat(pixels)), np.float64)


def one_class_svm(fitted: Pixels, seed: int) -> Score:
    """Return the one-class SVM's score (RBF, gamma "scale"), with nu 0.1 as Deep SVDD's authors use."""
    model = OneClassSVM(nu=0.1).fit(flat(fitted))
    return lambda pixels: np.asarray(-model.score_samples(flat(pixels)), np.float64)


def nearest_neighbours(fitted: Pixels, seed: int) -> Score:
    """Return the mean distance to the five nearest images, of pixels scaled to unit length, which suits glyphs."""
    return _nearest(fitted, unit, seed)


def raw_nearest_neighbours(fitted: Pixels, seed: int) -> Score:
    """Return the mean distance to the five nearest images, of pixels as they are, which suits garments."""
    return _nearest(fitted, flat, seed)


def hog_nearest_neighbours(fitted: Pixels, seed: int) -> Score:
    """Return the mean distance to the five nearest images, in scikit-image's histograms of oriented gradients."""
    return _nearest(fitted, histograms, seed)


def deep_svdd(fitted: Pixels, seed: int) -> Score:
    """Return PyOD's Deep SVDD (fully connected) with its defaults, on pixels in [0, 1]."""
    model = DeepSVDD(
        n_features=fitted[0].size, epochs=DEEP_SVDD_EPOCHS, preprocessing=False, random_state=seed, verbose=0
    )
    model.fit(flat(fitted))
    return lambda pixels: np.asarray(model.decision_function(flat(pixels)), np.float64)


BASELINES: dict[str, Fit] = {
    "pca": pca,
    "iforest": isolation_forest,
    "ocsvm": one_class_svm,
    "knn": nearest_neighbours,
    "knn-raw": raw_nearest_neighbours,
    "deep-svdd": deep_svdd,
    "hog-knn": hog_nearest_neighbours,
}


def flat(pixels: Pixels) -> NDArray[np.float32]:
    """Return uint8 `pixels` [N, H, W] as vectors [N, H W] in [0, 1]."""
    return np.asarray(pixels.reshape(len(pixels), -1) / 255, np.float32)


def unit(pixels: Pixels) -> NDArray[np.float32]:
    """Return `pixels` [N, H, W] as vectors of length 1; black images stay zero."""
    x = flat(pixels)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6), np.float32)


def histograms(pixels: Pixels) -> NDArray[np.float32]:
    """Return scikit-image's HOG of `pixels` [N, H, W]: 9 orientations, cells of CELL px, the image one block, L1-sqrt.

    The setting is the best of ten on held-out training images of four classes. Our settings were chosen on the same images.
    """
    block = (pixels.shape[1] // CELL, pixels.shape[2] // CELL)
    histogram = partial(hog, pixels_per_cell=(CELL, CELL), cells_per_block=block, block_norm="L1-sqrt")
    return np.stack([histogram(image) for image in pixels]).astype(np.float32)


def _nearest(fitted: Pixels, features: Callable[[Pixels], NDArray[np.float32]], _seed: int) -> Score:
    model = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(features(fitted))
    return lambda pixels: np.asarray(model.kneighbors(features(pixels))[0].mean(axis=1), np.float64)
