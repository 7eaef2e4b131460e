"""Batch scoring: rows in the order of items, scores independent of the batch, bounded memory, false discovery rate."""

import dataclasses
import gc
import itertools
import weakref
from pathlib import Path

import numpy as np
import pytest
from artifacts import write_detector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from service import images
from service.batch import score
from service.batch.sources import Item
from service.errors import SourceError
from service.published import artifact
from service.published.conformal import Rule
from service.published.detector import Detector, Row

ALPHA = 0.05


@pytest.fixture(scope="module")
def detector(tmp_path_factory, digits):
    zeros = digits["x_train"][digits["y_train"] == 0]
    return Detector(artifact.load(write_detector(tmp_path_factory.mktemp("models") / "mnist-0", zeros)), "cpu", 1)


def items_of(digits, kinds):
    """Return one item per letter: array, bytes of a file, error, file that does not exist, bytes of no image."""
    makers = {
        "a": lambda image: image,
        "b": images.encode_png,
        "e": lambda _: SourceError("image: the file cannot be read: Bad CRC-32; check it"),
        "f": lambda _: Path("/absent.png"),
        "n": lambda _: b"no image",
    }
    pixels = itertools.cycle(digits["x_test"])
    return [Item(str(number), makers[kind](next(pixels))) for number, kind in enumerate(kinds)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.text("aabbefn", max_size=20), batch_size=st.integers(1, 9))
def test_rows_keep_order_ids_and_errors_whatever_the_batches(kinds, batch_size, detector, digits):
    items = items_of(digits, kinds)
    rows = list(score.score_items(items, detector, detector.decide(Rule(ALPHA)), batch_size=batch_size))
    assert [row.id for row in rows] == [item.id for item in items]
    assert [row.error is None for row in rows] == [kind in "ab" for kind in kinds]
    for row, image in zip(rows, itertools.cycle(digits["x_test"])):
        if row.error:
            assert (row.l_con, row.latent, row.density, row.score, row.p_value, row.is_anomaly) == (None,) * 6
        else:
            alone = detector.score(images.fit(image[None], detector.image_size))
            found = (row.l_con, row.latent, row.density, row.score, row.p_value)
            expected = (alone.l_con[0], alone.latent[0], alone.density[0], alone.score[0], alone.p_value[0])
            np.testing.assert_allclose(found, expected, rtol=1e-5)
            assert row.is_anomaly == (alone.p_value[0] <= ALPHA)


def test_errors_are_the_sentences_of_the_image_module(detector, digits):
    rows = score.score_items(items_of(digits, "efn"), detector, detector.decide(Rule(ALPHA)))
    assert [row.error for row in rows] == [
        "image: the file cannot be read: Bad CRC-32; check it",
        "image: the file cannot be read: No such file or directory; check it",
        "image: expected PNG, JPEG, WEBP, BMP, GIF, got 8 bytes of text; convert it first",
    ]


def test_the_caller_says_whether_images_are_dark_on_light(detector, digits):
    items, dark_on_light = ([Item("0", pixels)] for pixels in (digits["x_test"][0], 255 - digits["x_test"][0]))
    [plain] = score.score_items(items, detector, detector.decide(Rule(ALPHA)))
    assert list(score.score_items(dark_on_light, detector, detector.decide(Rule(ALPHA)), invert=True)) == [plain]
    assert list(score.score_items(dark_on_light, detector, detector.decide(Rule(ALPHA)))) != [plain]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_never_more_than_one_batch_is_taken_ahead(batch_size, detector, digits):
    taken = 0

    def counted():
        nonlocal taken
        for item in itertools.cycle(items_of(digits, "ab")):
            taken += 1
            yield item

    for done, _ in enumerate(
        itertools.islice(
            score.score_items(counted(), detector, detector.decide(Rule(ALPHA)), batch_size=batch_size), 200
        )
    ):
        assert taken <= done + batch_size


def test_names_that_are_no_text_become_text(detector, digits):
    item = Item(Path(bytes([97, 255]).decode("utf-8", "surrogateescape")).as_posix(), digits["x_test"][0])
    [row] = score.score_items([item], detector, detector.decide(Rule(ALPHA)))
    assert row.id == "a\\xff"


p_values = st.lists(st.integers(1, 50).map(lambda rank: rank / 50) | st.floats(1e-6, 1), min_size=1, max_size=60)


@given(values=p_values, alpha=st.floats(0.001, 0.5))
def test_rejections_are_those_of_scipy(values, alpha):
    threshold = score.rejection_threshold(np.array(values), alpha)
    np.testing.assert_array_equal(np.array(values) <= threshold, false_discovery_control(values) <= alpha)


def test_rejections_of_the_papers_example():
    """Benjamini and Hochberg (1995), section 3.1: the four smallest of 15 p-values are rejected at 0.05."""
    values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    assert score.rejection_threshold(np.array([*values, 0.7590, 1.0]), 0.05) == 0.0095


def test_nothing_is_rejected_where_there_is_nothing():
    assert score.rejection_threshold(np.array([]), 0.05) == 0.0
    assert score.rejection_threshold(np.array([0.9, 1.0]), 0.05) == 0.0


@given(values=st.lists(st.floats(1e-6, 1) | st.none(), max_size=40))
def test_fdr_changes_the_verdict_only(values):
    rows = [
        Row(str(number), error="x") if value is None else Row(str(number), 0.1, 0.2, 0.3, 0.4, value, value <= ALPHA)
        for number, value in enumerate(values)
    ]
    controlled = list(score.control_fdr(rows, ALPHA))
    without = [dataclasses.replace(row, is_anomaly=None) for row in controlled]
    assert without == [dataclasses.replace(row, is_anomaly=None) for row in rows]
    known = [value for value in values if value is not None]
    rejected = list(false_discovery_control(known) <= ALPHA) if known else []
    assert [row.is_anomaly for row in controlled if row.error is None] == rejected


def test_large_files_make_small_batches_and_are_not_kept(detector, monkeypatch):
    monkeypatch.setattr(score, "BATCH_BYTES", 3000)
    taken, kept = [], weakref.WeakSet()

    def items():
        for number in range(20):
            error = SourceError("damaged")
            kept.add(error)
            taken.append(number)
            yield Item(str(number), error if number % 2 else bytes(2000))

    rows = score.score_items(items(), detector, detector.decide(Rule(0.05)))
    next(rows)
    assert len(taken) <= 4
    gc.disable()
    try:
        assert len(list(rows)) == 19
        assert len(kept) == 0
    finally:
        gc.enable()
