import numpy as np
import pytest
import torch

from service import images
from training.data import NormalSplit, split_normal
from training.density.model import Density, fit_density, to_light, without_strangers
from training.recipes import DensityRecipe

RECIPE = DensityRecipe(epochs=2, outliers=1, components=16)


@pytest.fixture(scope="module")
def normal(digits: dict[str, np.ndarray]) -> NormalSplit:
    chosen = digits["y_train"] < 2
    return split_normal(images.fit(digits["x_train"][chosen], 32), 0)


@pytest.fixture(scope="module")
def density(normal: NormalSplit) -> Density:
    return fit_density(normal, RECIPE, 0)


def scores(density: Density, pixels: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = density(to_light(pixels))[0]
    return result


def test_other_digits_noise_and_nothing_are_less_likely_than_held_out_normal_ones(
    density: Density, normal: NormalSplit, digits: dict[str, np.ndarray]
):
    usual = scores(density, normal.calibration).median()
    rng = np.random.default_rng(0)
    others = images.fit(digits["x_test"][digits["y_test"] >= 2], 32)
    assert scores(density, others).median() > usual + 1
    for odd in (np.zeros((1, 32, 32)), np.full((1, 32, 32), 255), rng.integers(0, 256, (1, 32, 32))):
        assert scores(density, odd.astype(np.uint8)) > usual + 1


def test_a_score_does_not_depend_on_its_batch(density: Density, normal: NormalSplit):
    together = scores(density, normal.calibration)
    alone = torch.cat([scores(density, image[None]) for image in normal.calibration])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_the_same_seed_gives_the_same_density_and_leaves_the_global_state_alone(density: Density, normal: NormalSplit):
    before = torch.get_rng_state()
    again = fit_density(normal, RECIPE, 0)
    torch.testing.assert_close(torch.get_rng_state(), before)
    torch.testing.assert_close(scores(again, normal.calibration), scores(density, normal.calibration), atol=0, rtol=0)


def test_calibration_images_are_not_looked_at(density: Density, normal: NormalSplit):
    other = NormalSplit(normal.fit, normal.validation, 255 - normal.calibration)
    torch.testing.assert_close(
        scores(fit_density(other, RECIPE, 0), normal.fit), scores(density, normal.fit), atol=0, rtol=0
    )


@pytest.mark.parametrize("lowest", [0, 255], ids=["noise", "filled"])
def test_the_heat_map_points_at_a_damage(density: Density, normal: NormalSplit, lowest: int):
    damaged = normal.calibration.copy()
    damaged[:, 10:22, 10:22] = np.random.default_rng(0).integers(lowest, 256, (len(damaged), 12, 12))
    with torch.no_grad():
        heat = density(to_light(damaged))[1]
    assert heat.min() >= 0
    assert heat.max() < 1
    hottest = heat.flatten(1).topk(50).indices
    inside = torch.zeros(32, 32)
    inside[10:22, 10:22] = 1
    assert inside.flatten()[hottest].mean() > 0.75


def test_strangers_among_the_normal_images_are_found_and_not_fitted_on(digits: dict[str, np.ndarray]):
    zeros, ones = (images.fit(digits["x_train"][digits["y_train"] == digit], 32) for digit in (0, 1))
    contaminated = NormalSplit(np.concatenate([zeros[:27], ones[:3]]), np.concatenate([zeros[27:], ones[3:5]]), zeros)
    trusting, wary = RECIPE, RECIPE.model_copy(update={"contamination": 0.1})
    kept, held_out = without_strangers(to_light(contaminated.fit), to_light(contaminated.validation), wary)
    torch.testing.assert_close(kept, to_light(zeros[:27]), atol=0, rtol=0)
    assert len(held_out) > 0
    assert torch.cdist(held_out.flatten(1), to_light(ones[3:5]).flatten(1)).min() > 0
    assert len(without_strangers(kept, to_light(ones), wary)[1]) >= len(ones) / 2
    gaps = {
        recipe.contamination: scores(density, ones[5:]).median() - scores(density, zeros).median()
        for recipe in (trusting, wary)
        for density in [fit_density(contaminated, recipe, 0)]
    }
    assert gaps[0.1] > gaps[0.0] + 1
