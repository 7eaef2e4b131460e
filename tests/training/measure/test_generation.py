from dataclasses import replace
from pathlib import Path

import artifacts
import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from service.published import artifact
from service.published.generator import Generator
from training.data import DataSet, Split
from training.errors import MetricError
from training.measure import generation, networks
from training.measure.generation import Judge
from training.measure.networks import Features, Network


class Means:
    """A network that sees the mean of every 8 x 8 block of an image in each colour."""

    name = "lite0"
    class_names = ()

    def __call__(self, pixels: np.ndarray) -> Features:
        means = pixels.reshape(len(pixels), 4, 8, 4, 8, 3).mean(axis=(2, 4)).reshape(len(pixels), 48)
        return Features((means / 255).astype(np.float32), (means[:, :10] / 25).astype(np.float32))


class Counting(Means):
    seen = 0

    def __call__(self, pixels: np.ndarray) -> Features:
        self.seen += len(pixels)
        return super().__call__(pixels)


class Named(Means):
    def __init__(self, name: str) -> None:
        self.name = name


def test_class_agreement_counts_per_class_what_was_asked_for():
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 0]]
    asked = np.array([0, 1, 2, 0, 1, 2])
    found = generation.agreement("class_agreement", logits, asked, ("a", "b", "c"), "data", "generated")
    shares = {metric.name: (metric.value, metric.samples) for metric in found}
    assert shares == {
        "class_agreement": (pytest.approx(5 / 6), 6),
        "class_agreement.a": (1, 2),
        "class_agreement.b": (1, 2),
        "class_agreement.c": (0.5, 2),
    }


def test_only_inception_may_give_an_fid():
    assert generation.metric_name("frechet_distance", "inception") == "fid"
    assert generation.metric_name("frechet_distance", "lite0") == "frechet_distance.lite0"


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (150, 32, 32, 3), np.uint8)


def named(metrics: list) -> dict[str, float]:
    return {metric.name: metric.value for metric in metrics}


def test_noise_is_further_from_real_images_than_other_real_images_are(photos: DataSet, noise: np.ndarray):
    network = Means()
    real = network(photos.test.pixels)
    other = named(
        generation.compare_with_real("lite0", real, network(photos.train.pixels), "cifar10", "train against test")
    )
    bad = named(generation.compare_with_real("lite0", real, network(noise), "cifar10", "generated against test"))
    assert bad["frechet_distance.lite0"] > 3 * other["frechet_distance.lite0"] > 0
    assert bad["kernel_distance.lite0"] > 3 * abs(other["kernel_distance.lite0"])
    assert bad["recall.lite0"] == 0
    assert other["recall.lite0"] > 0.5
    assert bad["inception_score.lite0"] < other["inception_score.lite0"]


@pytest.fixture(scope="module")
def lite0() -> Network:
    return networks.load("lite0", Path("models"))


def test_lite0_has_its_weights_and_the_right_input(lite0: Network, photos: DataSet):
    train, test = (lite0(split.pixels).features for split in (photos.train, photos.test))
    assert test.shape == (150, 1280)
    nearest = KNeighborsClassifier(5).fit(train, photos.train.labels)
    assert nearest.score(test, photos.test.labels) > 0.4  # raw pixels reach 0.14, an untrained network no more


def test_a_network_sees_an_image_alike_in_any_company(lite0: Network, photos: DataSet):
    alone, together = lite0(photos.test.pixels[:1]), lite0(photos.test.pixels[:5])
    assert np.allclose(alone.features[0], together.features[0], atol=1e-4)


def test_inception_takes_its_weights_from_a_local_file(
    photos: DataSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    torch.save({}, tmp_path / "empty.pth")
    with monkeypatch.context() as patch:  # the reference weights cannot be had offline; random ones fill the same file
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, _: self)
        drawn = networks.load("inception", tmp_path, tmp_path / "empty.pth")
    torch.save(drawn._module.state_dict(), tmp_path / "weights.pth")
    seen = networks.load("inception", tmp_path, tmp_path / "weights.pth")(photos.test.pixels[:2])
    assert (seen.features.shape, seen.logits.shape) == ((2, 2048), (2, 1008))
    assert np.array_equal(seen.features, drawn(photos.test.pixels[:2]).features)


def test_a_network_that_cannot_be_had_is_refused_with_those_that_can(tmp_path: Path):
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(b"not weights")
    with pytest.raises(MetricError, match="choose cifar-net or lite0"):
        networks.load("inception", tmp_path, damaged)
    with pytest.raises(MetricError, match="--inception-weights or choose"):
        networks.load("inception", tmp_path, tmp_path / "missing.pth")
    with pytest.raises(MetricError, match="choose lite0"):
        networks.load("cifar-net", tmp_path)
    with pytest.raises(MetricError, match="expected one of: inception, cifar-net, lite0, resnet18"):
        networks.load("vgg", tmp_path)


def test_resnet18_is_asked_for_and_says_where_its_weights_belong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "resnet18-f37072fd.pth").write_bytes(b"not weights")
    with pytest.raises(MetricError, match=f"put resnet18-f37072fd.pth into {checkpoints} or choose"):
        networks.load("resnet18", tmp_path)


def test_lite0_sees_the_images_of_the_embedding_unless_another_network_is_named(
    photos: DataSet, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(networks, "load", lambda name, *_: Named(name))
    assert generation.make_judge(photos, [], Path("models"), samples=100).embedder.name == "lite0"
    judge = generation.make_judge(photos, ["cifar-net"], Path("models"), samples=100, embedding_network="resnet18")
    assert judge.embedder.name == "resnet18"


def test_real_images_are_seen_when_the_first_generator_is_measured_and_only_then(
    photos: DataSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    network = Counting()
    monkeypatch.setattr(networks, "load", lambda *_: network)
    judge = generation.make_judge(photos, ["lite0"], Path("models"), samples=100)
    assert network.seen == 0
    generator = Generator(artifact.load(artifacts.write_generator(tmp_path / "plain", conditional=False)), "cpu")
    judge.measure(generator)
    first = network.seen
    judge.measure(generator)
    assert (first, network.seen - first) == (100 + 100 + 100 + 100 + 100, 100 + 100)


def test_more_samples_than_a_split_holds_are_refused(photos: DataSet):
    with pytest.raises(MetricError, match="expected 2 to 150, the images of the smaller split, got 151"):
        generation.make_judge(photos, ["lite0"], Path("models"), samples=151)


def test_a_data_set_without_a_test_split_cannot_judge(photos: DataSet):
    untested = replace(photos, test=Split(photos.test.pixels[:0], photos.test.labels[:0]))
    with pytest.raises(MetricError, match="expected a test split to measure on, found none"):
        generation.make_judge(untested, ["lite0"], Path("models"), samples=100)


class Colours:
    """A network that knows the classes of the artifacts' generator by their colour."""

    name = "cifar-net"
    class_names = artifacts.CLASS_NAMES

    def __call__(self, pixels: np.ndarray) -> Features:
        colours = pixels.mean(axis=(1, 2)).astype(np.float32)
        return Features(colours, colours)


@pytest.fixture
def a_judge(photos: DataSet) -> Judge:
    return Judge(photos, 150, [Colours()], Means())


def test_a_generator_is_measured_beside_its_gate_and_asked_for_every_class(a_judge: Judge, tmp_path: Path):
    path = artifacts.write_generator(tmp_path / "colours")
    metrics = a_judge.measure(Generator(artifact.load(path), "cpu"))
    generated = named([metric for metric in metrics if metric.split != generation.GATE_SPLIT])
    gate = named([metric for metric in metrics if metric.split == generation.GATE_SPLIT])
    assert generated["class_agreement"] == generated["class_agreement.cat"] == 1
    assert generated["two_sample_accuracy.lite0"] > 0.95
    assert generated["frechet_distance.cifar-net"] > gate["frechet_distance.cifar-net"] > 0
    assert {metric.samples for metric in metrics if metric.name.endswith("cifar-net")} == {150}


def test_class_agreement_is_not_asked_of_a_generator_without_classes(a_judge: Judge, tmp_path: Path):
    path = artifacts.write_generator(tmp_path / "plain", conditional=False)
    metrics = a_judge.measure(Generator(artifact.load(path), "cpu"))
    assert not [metric.name for metric in metrics if metric.name.startswith("class_agreement")]


def test_a_network_without_the_classes_tells_them_by_a_probe_fitted_on_training_images(
    photos: DataSet, lite0: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(networks, "load", lambda *_: lite0)
    by_lite0 = generation.make_judge(photos, ["lite0"], Path("models"), samples=150)
    gate = [metric for metric in by_lite0.references[0].gate if metric.name == "probe_agreement.lite0"]
    assert [(metric.split, metric.samples) for metric in gate] == [(generation.GATE_SPLIT, 150)]
    assert 0.5 < gate[0].value < 1
    plain, conditional = (
        Generator(artifact.load(artifacts.write_generator(tmp_path / name, conditional=name == "told")), "cpu")
        for name in ("untold", "told")
    )
    told = [metric for metric in by_lite0.measure(conditional) if metric.name.startswith("probe_agreement")]
    assert [metric.split for metric in told] == ["generated", generation.GATE_SPLIT]
    assert [metric.split for metric in by_lite0.measure(plain) if "agreement" in metric.name] == [generation.GATE_SPLIT]
