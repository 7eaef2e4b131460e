import numpy as np
import pytest
from artifacts import write_detector

from service import images
from service.published.artifact import load
from service.published.detector import Detector
from training.benchmark import corruptions
from training.benchmark.corruptions import CORRUPTIONS, Alarms


@pytest.fixture(scope="module")
def zeros(digits: dict[str, np.ndarray]) -> np.ndarray:
    return images.fit(digits["x_train"][digits["y_train"] == 0], 32)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory, zeros: np.ndarray) -> Detector:
    return Detector(load(write_detector(tmp_path_factory.mktemp("models") / "zeros", zeros)), "cpu")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_keeps_shape_and_type_and_repeats_with_its_seed(zeros: np.ndarray, name: str):
    corruption = CORRUPTIONS[name]
    for severity in corruption.severities:
        made, again = (corruption.make(zeros, severity, np.random.default_rng(0)) for _ in range(2))
        assert (made.shape, made.dtype) == (zeros.shape, np.uint8)
        np.testing.assert_array_equal(made, again)


def test_harmless_corruptions_change_less_than_the_others(zeros: np.ndarray):
    def change(name: str) -> float:
        made = CORRUPTIONS[name].make(zeros, CORRUPTIONS[name].severities[-1], np.random.default_rng(0))
        return float(np.abs(made.astype(float) - zeros).mean())

    harmless = {name for name, corruption in CORRUPTIONS.items() if corruption.meaning == "harmless"}
    assert max(map(change, harmless)) < min(map(change, CORRUPTIONS.keys() - harmless))


def test_a_shift_by_nothing_changes_nothing(zeros: np.ndarray):
    np.testing.assert_array_equal(CORRUPTIONS["shift, px"].make(zeros, 0, np.random.default_rng(0)), zeros)


@pytest.mark.parametrize(("halves", "axis"), [("upper or lower", 1), ("left or right", 2)])
def test_half_erased_glyphs_lose_half_of_their_extent(zeros: np.ndarray, halves: str, axis: int):
    made = CORRUPTIONS[f"{halves} half erased"].make(zeros, 0.5, np.random.default_rng(0))
    extent, left = ((pixels.max(axis=3 - axis) > 64).sum(axis=1) for pixels in (zeros, made))
    assert np.all(np.abs(left - extent / 2) <= 1)
    kept = made > 0
    np.testing.assert_array_equal(made[kept], zeros[kept])
    first = np.argmax(kept.any(axis=3 - axis), axis=1) == np.argmax((zeros > 64).any(axis=3 - axis), axis=1)
    assert 0 < np.mean(first) < 1


def test_rates_are_counted_for_every_severity(detector: Detector, zeros: np.ndarray):
    alarms = list(corruptions.measure(detector, zeros, 255 - zeros))
    assert len(alarms) == 1 + sum(len(corruption.severities) for corruption in CORRUPTIONS.values())
    assert all(0 <= one.at_01 <= one.at_05 <= 1 for one in alarms)
    assert alarms[-1].at_05 == next(one for one in alarms if one.corruption == "inverted").at_05


def test_the_table_names_the_worst_model():
    shifts = [Alarms(model, "shift", 1, "harmless", 9, 0.0, rate) for model, rate in (("a", 0.1), ("b", 0.3))]
    blanks = [Alarms(model, "blank", 0, "anomalous", 9, rate, 1.0) for model, rate in (("a", 0.9), ("b", 1.0))]
    *_, shift, blank = corruptions.table([*shifts, *blanks]).splitlines()
    assert shift == "| shift | 1 | harmless | 0.05 | 0.200 | 0.300 | b | 1/2 |"
    assert blank == "| blank | 0 | anomalous | 0.01 | 0.950 | 0.900 | a | 1/2 |"


def test_the_heat_of_noise_lies_where_the_noise_is(detector: Detector, zeros: np.ndarray):
    assert corruptions.share_of_heat(detector, zeros, "noise") > 0.5
