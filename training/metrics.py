"""How far generated images are from real ones, seen by a network; thin over torch-fidelity and scikit-learn.

A number is called FID, IS or KID only if the network is Inception v3 with the reference weights; of any other network
the name says so: `frechet_distance.lite0`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from service.images import Pixels
from training.data import DataSet, Labels
from training.errors import MetricError
from training.evaluate import Metric
from training.features import CIFAR_NET, Features, Floats, Network

if TYPE_CHECKING:
    from service.generator import Generator

SAMPLES = 10_000
GATE_SPLIT, GENERATED_SPLIT = "train against test", "generated against test"
CLASS_AGREEMENT = "class_agreement"
RESAMPLES = 5
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
SHORT_NAMES = {"frechet_distance": "fid", "inception_score": "is", "kernel_distance": "kid"}


@dataclass(frozen=True)
class Reference:
    """Real images seen by one network: `test` is what others are compared with, `train` the gate, `samples` of each."""

    network: Network
    data: str
    test: Features
    train: Features

    @property
    def samples(self) -> int:
        """Number of images on each side of every comparison."""
        return len(self.test.features)


def reference(network: Network, data_set: DataSet, samples: int = SAMPLES, seed: int = 0) -> Reference:
    """Return `samples` test images and as many training images of `data_set`, drawn by `seed` and seen by `network`.

    MetricError if either split holds fewer.
    """
    fewer = min(len(data_set.train.pixels), len(data_set.test.pixels))
    if samples > fewer:
        raise MetricError(f"samples: expected at most {fewer:,}, the images of a split, got {samples:,}; ask for fewer")
    rng = np.random.default_rng(seed)
    test, train = (
        network(split.pixels[rng.permutation(len(split.pixels))[:samples]]) for split in (data_set.test, data_set.train)
    )
    return Reference(network, data_set.name, test, train)


def gates(real: Reference) -> list[Metric]:
    """Return the metrics of real training images, as if they were generated: no generator can be asked to do better."""
    return _metrics(real, real.train, GATE_SPLIT)


def measure(real: Reference, pixels: Pixels) -> list[Metric]:
    """Return the metrics of generated `pixels`, uint8 [N, H, W, 3] with N = `real.samples`."""
    return _metrics(real, real.network(pixels), GENERATED_SPLIT)


def measure_generator(generator: "Generator", real: Reference, seed: int = 0) -> list[Metric]:
    """Return the metrics of a published `generator`, the gates behind them, on as many samples as `real` has.

    A conditional generator is asked for every class in turn, and if the network is cifar-net, how often it sees the
    class that was asked for is measured too.
    """
    seen = real.network(generator.sample(None, real.samples, seed))
    metrics = _metrics(real, seen, GENERATED_SPLIT)
    if generator.is_conditional and real.network.name == CIFAR_NET:
        asked = np.arange(real.samples) % len(generator.class_names)
        metrics += agreement(CLASS_AGREEMENT, seen.logits, asked, generator.class_names, real.data, "generated")
    return metrics + gates(real)


def agreement(
    name: str, logits: Floats, labels: Labels, class_names: Sequence[str], data: str, split: str
) -> list[Metric]:
    """Return the share of images whose largest of `logits` [N, classes] is that of `labels` [N], over all and per class."""
    agrees = logits.argmax(axis=1) == labels
    parts = {name: np.full(len(labels), True)}
    parts |= {f"{name}.{class_name}": labels == label for label, class_name in enumerate(class_names)}
    return [_share(part_name, agrees[part], data, split) for part_name, part in parts.items() if part.any()]


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

    An image is among others if it is nearer to one of them than that one's third neighbour.
    """
    scores = prc_features_to_metric(
        torch.from_numpy(generated), torch.from_numpy(real), save_cpu_ram=True, verbose=False
    )
    return scores[KEY_METRIC_PRECISION], scores[KEY_METRIC_RECALL]


def two_sample_accuracy(real: Floats, generated: Floats) -> float:
    """Return the leave-one-out accuracy of telling real from generated by the nearest neighbour (arXiv:1610.06545).

    With equally many of each, 0.5 means that they cannot be told apart, 1 that they are apart, and less than 0.5 that
    generated images are copies of real ones.
    """
    is_real = np.arange(len(real) + len(generated)) < len(real)
    nearest = NearestNeighbors(n_neighbors=1).fit(np.concatenate([real, generated])).kneighbors(return_distance=False)
    return float((is_real[nearest[:, 0]] == is_real).mean())


def _metrics(real: Reference, seen: Features, split: str) -> list[Metric]:
    compared = (real.test.features, seen.features)
    precision, recall = precision_recall(*compared)
    score, score_deviation = inception_score(seen.logits)
    kernel, kernel_deviation = kernel_distance(*compared)
    distance, distance_deviation = frechet_distance(*compared), _resampled(frechet_distance, *compared)
    figures = {
        "frechet_distance": (distance, distance_deviation),
        "inception_score": (score, score_deviation),
        "kernel_distance": (kernel, kernel_deviation),
        "precision": (precision, _binomial(precision, real.samples)),
        "recall": (recall, _binomial(recall, real.samples)),
    }
    return [
        Metric(
            metric_name(name, real.network.name), value, deviation, real.samples, 1, real.data, split, "torch-fidelity"
        )
        for name, (value, deviation) in figures.items()
    ]


def metric_name(figure: str, network: str) -> str:
    """Return what to call `figure` on `network`: the common short name only where it is the common network."""
    return SHORT_NAMES.get(figure, figure) if network == "inception" else f"{figure}.{network}"


def _resampled(distance: Callable[[Floats, Floats], float], real: Floats, generated: Floats) -> float:
    rng = np.random.default_rng(0)
    draws = (generated[rng.choice(len(generated), len(generated))] for _ in range(RESAMPLES))
    return float(np.std([distance(real, draw) for draw in draws], ddof=1))


def _share(name: str, hits: NDArray[np.bool_], data: str, split: str) -> Metric:
    value = float(hits.mean())
    return Metric(
        name,
        value,
        _binomial(value, len(hits)),
        len(hits),
        1,
        data,
        split,
        "share of images whose largest logit is the label's",
    )


def _binomial(share: float, count: int) -> float:
    return float(np.sqrt(share * (1 - share) / count))
