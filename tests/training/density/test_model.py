import numpy as np
import pytest
import torch

from service import images
from training.data import NormalSplit, split_normal
from training.density.fitting import Fitted, fit_density
from training.density.model import CLASSES, log_odds, to_light
from training.fit import make_fabric
from training.recipes import DensityRecipe

RECIPE = DensityRecipe(epochs=2, outliers=1, components=16, whitened=32)


@pytest.fixture(scope="module")
def normal(digits: dict[str, np.ndarray]) -> NormalSplit:
    return split_normal(images.fit(digits["x_train"][digits["y_train"] < 2], 32), 0)


@pytest.fixture(scope="module")
def fitted(normal: NormalSplit) -> Fitted:
    return fit_density(normal, RECIPE, 0, make_fabric("cpu"))


@pytest.fixture(scope="module")
def others(digits: dict[str, np.ndarray]) -> np.ndarray:
    return images.fit(digits["x_test"][digits["y_test"] < 2], 32)


def scores(fitted: Fitted, pixels: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = fitted.density(to_light(pixels))[0]
    return result


def test_other_digits_noise_and_nothing_are_less_likely_than_new_normal_images(
    fitted: Fitted, others: np.ndarray, digits: dict[str, np.ndarray]
):
    usual = scores(fitted, others).median()
    rng = np.random.default_rng(0)
    odd = images.fit(digits["x_test"][digits["y_test"] >= 2], 32)
    assert scores(fitted, odd).median() > usual + 1
    for image in (np.zeros((1, 32, 32)), np.full((1, 32, 32), 255), rng.integers(0, 256, (1, 32, 32))):
        assert scores(fitted, image.astype(np.uint8)) > usual + 1


def test_a_score_does_not_depend_on_its_batch(fitted: Fitted, others: np.ndarray):
    together = scores(fitted, others)
    alone = torch.cat([scores(fitted, image[None]) for image in others])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("lowest", [0, 255], ids=["noise", "filled"])
def test_the_heat_map_points_at_a_damage(fitted: Fitted, others: np.ndarray, lowest: int):
    damaged = others.copy()
    damaged[:, 10:22, 10:22] = np.random.default_rng(0).integers(lowest, 256, (len(damaged), 12, 12))
    with torch.no_grad():
        heat = fitted.density(to_light(damaged))[1]
    assert heat.min() >= 0
    assert heat.max() < 1
    hottest = heat.flatten(1).topk(50).indices
    inside = torch.zeros(32, 32)
    inside[10:22, 10:22] = 1
    assert inside.flatten()[hottest].mean() > 0.75


def test_what_was_saved_is_restored(fitted: Fitted, others: np.ndarray):
    again = Fitted.restored(fitted.saved(), RECIPE)
    torch.testing.assert_close(scores(again, others), scores(fitted, others), atol=0, rtol=0)


def test_log_odds_are_those_of_any_outlier_against_normal():
    probabilities = torch.tensor([0.2, *[0.8 / (CLASSES - 1)] * (CLASSES - 1)])
    assert log_odds(probabilities.log()).item() == pytest.approx(np.log(0.8 / 0.2), abs=1e-5)
