"""How published generators compare with real images; the gate is the same figure for real training images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from service.images import Pixels
from service.published import artifact
from service.published.generator import Generator
from service.published.manifest import DeviationOf, Metric
from training.data import DataSet, Labels, Split
from training.errors import MetricError
from training.measure import distances, embedding, networks
from training.measure.networks import Features, Floats, Network
from training.switches import EMBEDDING_NETWORK

SEED = 0
RESAMPLES = 5
GATE_SPLIT, GENERATED_SPLIT = "train against test", "generated against test"
CLASS_AGREEMENT, PROBE_AGREEMENT = "class_agreement", "probe_agreement"
SHORT_NAMES = {"frechet_distance": "fid", "inception_score": "is", "kernel_distance": "kid"}


@dataclass(frozen=True)
class Reference:
    """Test images as one `network` sees them, to compare other images with. `gate` holds the metrics of training images.

    If the network does not know the classes, `probe` is a classifier of its features.
    """

    network: Network
    test: Features
    gate: list[Metric]
    probe: LinearDiscriminantAnalysis | None = None


@dataclass(frozen=True)
class Judge:
    """Real images of `data_set` as networks see them, for comparison with any number of generators.

    `samples` images of the test split are compared with as many generated images. Each of `networks` sees both kinds;
    `embedder` sees the images of the embedding. The networks see the real images when the first generator is measured,
    since that takes minutes.
    """

    data_set: DataSet
    samples: int
    networks: Sequence[Network]
    embedder: Network

    @cached_property
    def references(self) -> list[Reference]:
        """The real images as each network sees them."""
        return [_reference(network, self.data_set, self._test, self._train) for network in self.networks]

    @cached_property
    def embedded(self) -> Floats:
        """The real images of the embedding as `embedder` sees them, [N, D]."""
        return self.embedder(self._test.pixels[: embedding.IMAGES]).features

    def measure(self, generator: Generator, path: Path | None = None) -> list[Metric]:
        """Return the metrics of `generator` and their gates, and write its embedding into the folder `path`, if given.

        A conditional generator is asked for every class in turn. Every network then counts how often it sees the requested
        class: by its own logits if it knows these classes, else by its probe.
        """
        pixels = generator.sample(None, self.samples, SEED)
        found = []
        for reference in self.references:
            network, seen = reference.network, reference.network(pixels)
            found += compare_with_real(network.name, reference.test, seen, self.data_set.name, GENERATED_SPLIT)
            if generator.is_conditional:
                found += self._agreement(reference, seen, generator.class_names)
        found.append(self._two_sample_accuracy(pixels[: len(self.embedded)], path))
        return found + [metric for reference in self.references for metric in reference.gate]

    @property
    def _train(self) -> Split:
        return self.data_set.train.sample(self.samples, SEED)

    @property
    def _test(self) -> Split:
        return self.data_set.test.sample(self.samples, SEED)

    def _agreement(self, reference: Reference, seen: Features, class_names: tuple[str, ...]) -> list[Metric]:
        asked = np.arange(len(seen.logits)) % len(class_names)
        if reference.network.class_names == class_names:
            return agreement(CLASS_AGREEMENT, seen.logits, asked, class_names, self.data_set.name, "generated")
        return probe_agreement(reference.network.name, reference.probe, seen, asked, self.data_set.name, "generated")

    def _two_sample_accuracy(self, pixels: Pixels, path: Path | None) -> Metric:
        generated = self.embedder(pixels).features
        if path:
            embedding.write(self.embedded, generated, self.embedder.name, path / artifact.EMBEDDING)
        accuracy, count = distances.two_sample_accuracy(self.embedded, generated), 2 * len(pixels)
        name = metric_name("two_sample_accuracy", self.embedder.name)
        return _share_metric(
            name, accuracy, count, self.data_set.name, GENERATED_SPLIT, "nearest neighbour, scikit-learn"
        )


def make_judge(
    data_set: DataSet,
    names: Sequence[str],
    judges_dir: Path,
    samples: int,
    inception_weights: Path | None = None,
    embedding_network: str = EMBEDDING_NETWORK,
) -> Judge:
    """Return the judge with `samples` images of each split of `data_set`, seen by the networks called `names`.

    `embedding_network` sees the images of the two-sample accuracy and of the embedding. `judges_dir` holds the published
    cifar-net. MetricError if a split holds too few images, or a network's weights are missing.
    """
    _require_images(data_set, samples)
    wanted = dict.fromkeys([*names, embedding_network])
    loaded = {name: networks.load(name, judges_dir, inception_weights) for name in wanted}
    return Judge(data_set, samples, [loaded[name] for name in names], loaded[embedding_network])


def compare_with_real(network: str, real: Features, other: Features, data: str, split: str) -> list[Metric]:
    """Return the metrics of `other` images against as many `real` ones, both seen by `network`."""
    compared, count = (real.features, other.features), len(other.features)
    frechet = distances.frechet_distance(*compared), _bootstrap_deviation(distances.frechet_distance, *compared)
    figures: list[tuple[str, tuple[float, float], DeviationOf]] = [
        ("frechet_distance", frechet, "bootstrap"),
        ("inception_score", distances.inception_score(other.logits), "splits"),
        ("kernel_distance", distances.kernel_distance(*compared), "subsets"),
    ]
    shares = zip(("precision", "recall"), distances.precision_recall(*compared), strict=True)
    return [
        Metric(
            name=metric_name(name, network),
            value=value,
            deviation=deviation,
            deviation_of=over,
            samples=count,
            data=data,
            split=split,
            implementation="torch-fidelity",
        )
        for name, (value, deviation), over in figures
    ] + [
        _share_metric(metric_name(name, network), share, count, data, split, "torch-fidelity") for name, share in shares
    ]


def agreement(
    name: str, logits: Floats, labels: Labels, class_names: Sequence[str], data: str, split: str
) -> list[Metric]:
    """Return how often the largest of `logits` [N, classes] is the logit of `labels` [N], over all images and per class."""
    agrees = logits.argmax(axis=1) == labels
    parts = {name: np.full(len(labels), True)}
    parts |= {f"{name}.{class_name}": labels == label for label, class_name in enumerate(class_names)}
    rule = "share of images whose largest logit is the label's"
    return [
        _share_metric(part_name, float(agrees[part].mean()), int(part.sum()), data, split, rule)
        for part_name, part in parts.items()
        if part.any()
    ]


def probe_agreement(
    network: str, probe: LinearDiscriminantAnalysis | None, seen: Features, labels: Labels, data: str, split: str
) -> list[Metric]:
    """Return how often `probe`, if there is one, predicts `labels` [N] from the features `seen`."""
    if probe is None:
        return []
    share = float((probe.predict(seen.features) == labels).mean())
    rule = "linear discriminant analysis, scikit-learn"
    return [_share_metric(metric_name(PROBE_AGREEMENT, network), share, len(labels), data, split, rule)]


def metric_name(figure: str, network: str) -> str:
    """Return the name of the metric `figure` by `network`. Only Inception gives FID, IS and KID, as in the papers."""
    return SHORT_NAMES.get(figure, figure) if network == "inception" else f"{figure}.{network}"


def _require_images(data_set: DataSet, samples: int) -> None:
    if not len(data_set.test.pixels):
        raise MetricError(f"data set {data_set.name}: expected a test split to measure on, found none; add one")
    fewest = min(len(data_set.train.pixels), len(data_set.test.pixels))
    if not 2 <= samples <= fewest:
        raise MetricError(
            f"--samples: expected 2 to {fewest:,}, the images of the smaller split, got {samples:,}; choose another"
        )


def _reference(network: Network, data_set: DataSet, test: Split, train: Split) -> Reference:
    seen_train, seen_test = network(train.pixels), network(test.pixels)
    gate = compare_with_real(network.name, seen_test, seen_train, data_set.name, GATE_SPLIT)
    probe = None
    if network.class_names != data_set.class_names:
        probe = distances.class_probe(seen_train.features, train.labels)
        gate += probe_agreement(network.name, probe, seen_test, test.labels, data_set.name, GATE_SPLIT)
    return Reference(network, seen_test, gate, probe)


def _bootstrap_deviation(distance: Callable[[Floats, Floats], float], real: Floats, other: Floats) -> float:
    rng = np.random.default_rng(SEED)
    draws = (other[rng.choice(len(other), len(other))] for _ in range(RESAMPLES))
    return float(np.std([distance(real, draw) for draw in draws], ddof=1))


def _share_metric(name: str, share: float, count: int, data: str, split: str, rule: str) -> Metric:
    return Metric(
        name=name,
        value=share,
        deviation=float(np.sqrt(share * (1 - share) / count)),
        deviation_of="standard error",
        samples=count,
        data=data,
        split=split,
        implementation=rule,
    )
