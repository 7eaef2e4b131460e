"""Sampling: the same seed gives the same bytes, whatever the count."""

import numpy as np
import pytest
from artifacts import CLASS_NAMES, write_detector, write_generator

from service.errors import ArtifactError, UnknownClassError, ValueRangeError
from service.published.artifact import load
from service.published.generator import CHUNK, MAX_SEED, Generator, slerp


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return Generator(load(write_generator(tmp_path_factory.mktemp("models") / "colours")), "cpu", 1)


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory):
    folder = write_generator(tmp_path_factory.mktemp("models") / "grey", conditional=False)
    return Generator(load(folder), "cpu", 1)


@pytest.mark.parametrize("class_name", [None, "cat"])
@pytest.mark.parametrize("count", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_image_k_depends_on_seed_and_k_alone(generator, class_name, count):
    longest = generator.sample(class_name, 3 * CHUNK + 5, seed=7)
    np.testing.assert_array_equal(generator.sample(class_name, count, seed=7), longest[:count])


def test_every_image_and_every_seed_is_another(generator):
    pixels = np.concatenate([generator.sample("cat", 20, seed) for seed in (0, 1, MAX_SEED)])
    assert pixels.shape == (60, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert len(np.unique(pixels.reshape(60, -1), axis=0)) == 60


def test_a_class_is_asked_for_by_name_or_index(generator):
    by_name = [generator.sample(name, 2, seed=1) for name in CLASS_NAMES]
    for index, expected in enumerate(by_name):
        np.testing.assert_array_equal(generator.sample(str(index), 2, seed=1), expected)
        np.testing.assert_array_equal(generator.sample(CLASS_NAMES[index].upper(), 2, seed=1), expected)
        assert expected.mean(axis=(0, 1, 2)).argmax() == index  # the classes are red, green and blue


def test_no_class_means_mixed_in_order_of_label(generator):
    mixed = generator.sample(None, 7, seed=3)
    for k, image in enumerate(mixed):
        np.testing.assert_array_equal(image, generator.sample(CLASS_NAMES[k % 3], 7, seed=3)[k])


@pytest.mark.parametrize("name", ["dog", "3", "-1", "", "1.0"])
def test_unknown_class_names_the_known_ones(generator, name):
    with pytest.raises(UnknownClassError, match="ship, cat, frog; choose one, or an index below 3"):
        generator.sample(name, 1, seed=0)


def test_an_unconditional_model_knows_no_classes(unconditional):
    assert unconditional.class_names == ()
    assert unconditional.sample(None, 2, seed=0).shape == (2, 32, 32, 3)
    with pytest.raises(ValueRangeError, match="grey is not conditional"):
        unconditional.sample("cat", 1, seed=0)


def test_seeds_out_of_range_and_counts_below_one_are_refused(generator):
    for seed in (-1, MAX_SEED + 1):
        with pytest.raises(ValueRangeError, match="seed: expected"):
            generator.sample("cat", 1, seed)
    with pytest.raises(ValueRangeError, match="count: expected"):
        generator.sample("cat", 0, seed=0)
    with pytest.raises(ValueRangeError, match="steps: expected"):
        generator.walk("cat", (0, 1), steps=1)


def test_a_walk_starts_and_ends_at_the_first_image_of_its_seeds(generator, unconditional):
    for model, class_name in ((generator, "frog"), (generator, None), (unconditional, None)):
        walk = model.walk(class_name, (4, 5), steps=9).astype(int)
        for image, seed in ((walk[0], 4), (walk[-1], 5)):
            assert np.abs(image - model.sample(class_name, 1, seed)[0]).max() <= 1
        steps = np.abs(np.diff(walk, axis=0)).mean(axis=(1, 2, 3))
        assert steps.max() < np.abs(walk[-1] - walk[0]).mean()


def test_slerp_keeps_length_and_goes_by_equal_angles():
    start, end = np.float32([2, 0, 0]), np.float32([0, 2, 0])
    path = slerp(start, end, 4)
    angles = np.radians([0, 30, 60, 90])
    np.testing.assert_allclose(path, 2 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1), atol=1e-6)
    np.testing.assert_allclose(slerp(start, start, 3), np.stack([start] * 3), rtol=1e-6)


def test_a_detector_is_no_generator(tmp_path, digits):
    detector = load(write_detector(tmp_path / "digits", digits["x_train"][:40]))
    with pytest.raises(ArtifactError, match="expected a generator, got a detector"):
        Generator(detector)
