"""Distances between two sets of features or logits, by torch-fidelity and scikit-learn."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from training.measure.networks import Floats

KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000


def frechet_distance(real: Floats, generated: Floats) -> float:
    """Return the squared Frechet distance of the Gaussians with the mean and covariance of two sets of features [N, D].

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (arXiv:1706.08500, eq. 6), in units of the features squared.
    """
    first, second = (
        fid_features_to_statistics(torch.from_numpy(features.astype(np.float64))) for features in (real, generated)
    )
    return float(fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID])


def inception_score(logits: Floats) -> tuple[float, float]:
    """Return mean and deviation over ten splits of exp E KL(p(y|x) || p(y)) for `logits` [N, classes] (arXiv:1606.03498).

    It lies between 1, if all images look like the same classes, and the number of classes.
    """
    scores = isc_features_to_metric(torch.from_numpy(logits))
    return scores[KEY_METRIC_ISC_MEAN], scores[KEY_METRIC_ISC_STD]


def kernel_distance(real: Floats, generated: Floats) -> tuple[float, float]:
    """Return mean and deviation over subsets of the unbiased squared MMD of two sets of features (arXiv:1801.01401).

    The kernel is (x.y / D + 1)^3; the estimate can be slightly negative.
    """
    scores = kid_features_to_metric(
        torch.from_numpy(real.astype(np.float64)),
        torch.from_numpy(generated.astype(np.float64)),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(real), len(generated)),
        verbose=False,
    )
    return scores[KEY_METRIC_KID_MEAN], scores[KEY_METRIC_KID_STD]


def precision_recall(real: Floats, generated: Floats) -> tuple[float, float]:
    """Return the share of generated images among the real, and of real among the generated (arXiv:1904.06991).

    An image is among others if its distance to one of them is below the distance of that one to its third neighbour.
    """
    scores = prc_features_to_metric(
        torch.from_numpy(generated), torch.from_numpy(real), save_cpu_ram=True, verbose=False
    )
    return scores[KEY_METRIC_PRECISION], scores[KEY_METRIC_RECALL]


def two_sample_accuracy(real: Floats, generated: Floats) -> float:
    """Return the leave-one-out accuracy of a nearest-neighbour classifier of real against generated (arXiv:1610.06545).

    With equally many of each, 0.5 means that nothing separates them, and 1 that they are fully separated. Less than 0.5
    means that generated images are copies of real images.
    """
    is_real = np.arange(len(real) + len(generated)) < len(real)
    nearest = NearestNeighbors(n_neighbors=1).fit(np.concatenate([real, generated])).kneighbors(return_distance=False)
    return float((is_real[nearest[:, 0]] == is_real).mean())


def class_probe(features: Floats, labels: NDArray[np.int64]) -> LinearDiscriminantAnalysis:
    """Return a linear classifier of features [N, D], in closed form, fitted to the classes `labels` [N].

    Linear discriminant analysis with the shrinkage of Ledoit and Wolf (2004), so that N may be below D.
    """
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, labels)
