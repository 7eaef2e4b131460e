import numpy as np
import pytest
import torch

from service import images
from service.published.conformal import conformal_p_values
from training.data import NormalSplit, split_normal
from training.density import fitting
from training.density.fitting import Fitted, Folds, fit_density
from training.density.model import restored, to_light
from training.density.neighbours import Queries
from training.density.trimming import nearest, usual
from training.fit import make_fabric
from training.recipes import DensityRecipe

RECIPE = DensityRecipe(epochs=1, outliers=1, components=16, whitened=32)
FABRIC = make_fabric("cpu")


@pytest.fixture(scope="module")
def zeros(digits: dict[str, np.ndarray]) -> np.ndarray:
    return images.fit(digits["x_train"][digits["y_train"] == 0], 32)


def scores(fitted: Fitted, pixels: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = fitted.density(to_light(pixels))[0]
    return result


def test_the_same_seed_gives_the_same_density_and_leaves_the_global_state_alone(zeros: np.ndarray):
    before = torch.get_rng_state()
    one, two = (fit_density(split_normal(zeros, 0), RECIPE, 0, FABRIC) for _ in range(2))
    torch.testing.assert_close(torch.get_rng_state(), before)
    torch.testing.assert_close(scores(one, zeros), scores(two, zeros), atol=0, rtol=0)
    torch.testing.assert_close(one.scores, two.scores, atol=0, rtol=0)


def test_every_image_calibrates_and_looks_odder_to_models_that_have_not_seen_it(zeros: np.ndarray):
    fitted = fit_density(split_normal(zeros, 0), RECIPE, 0, FABRIC)
    assert fitted.indices.tolist() == list(range(len(zeros)))
    assert fitted.scores.median() > scores(fitted, zeros).median()


@pytest.fixture
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refit with few steps and few examples."""
    for name, value in {"REFITTED": 100, "MIN_STEPS": 20, "MIN_OUTLIERS": 100, "MIN_JITTERED": 60}.items():
        monkeypatch.setattr(fitting, name, value)


@pytest.mark.usefixtures("_quickly")
def test_nothing_that_judges_one_of_few_images_has_seen_it_or_others_of_its_fold(zeros: np.ndarray):
    recipe = DensityRecipe(folds=2)
    groups = np.arange(24)
    fold = Folds(torch.from_numpy(groups), 2, torch.Generator().manual_seed(0)).of(torch.from_numpy(groups))
    before = fit_density(NormalSplit(zeros[:24], groups, groups < 2), recipe, 0, FABRIC).scores
    changed = zeros[:24].copy()
    changed[0] = 255 - changed[0]
    after = fit_density(NormalSplit(changed, groups, groups < 2), recipe, 0, FABRIC).scores
    companions = (fold == fold[0]) & (torch.arange(24) > 0)
    assert torch.equal(before[companions], after[companions])
    assert not torch.equal(before[fold != fold[0]], after[fold != fold[0]])


def test_forty_images_raise_alarms_at_005_and_few_false_ones(
    zeros: np.ndarray, digits: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "REFITTED", 100)
    fitted = fit_density(split_normal(zeros[:40], 0), DensityRecipe(folds=3), 0, FABRIC)
    calibration = fitted.scores.sort().values.numpy()
    test = images.fit(digits["x_test"], 32)
    p_values = conformal_p_values(scores(fitted, test).numpy(), calibration)
    normal = digits["y_test"] == 0
    assert np.mean(p_values[~normal] <= 0.05) > 0.8
    assert np.mean(p_values[normal] <= 0.05) <= 0.1


def test_images_of_one_writer_do_not_vouch_for_each_other(zeros: np.ndarray):
    twice = np.concatenate([zeros, zeros])
    apart, together = (
        fit_density(split_normal(twice, 0, groups), RECIPE, 0, FABRIC)
        for groups in (np.arange(len(twice)), np.tile(np.arange(len(zeros)), 2))
    )
    # The mean log distance to images of other groups. In groups of its own, an image lies next to its copy.
    assert together.density.mean[0] > apart.density.mean[0] + 0.1


def test_folds_never_split_a_group():
    groups = torch.tensor([3, 3, 9, 9, 9, 5, 1, 1])
    folds = Folds(groups, 3, torch.Generator().manual_seed(0))
    dealt = folds.of(groups)
    assert all(len(dealt[groups == group].unique()) == 1 for group in groups.unique())
    assert dealt.unique().tolist() == [0, 1, 2]
    assert Folds(groups, 9, torch.Generator()).count == 4


def test_outliers_among_the_normal_images_are_found_and_not_fitted_on(digits: dict[str, np.ndarray]):
    zeros, ones = (images.fit(digits["x_train"][digits["y_train"] == digit], 32) for digit in (0, 1))
    mixed = np.concatenate([zeros[:36], ones[:4]])
    wary = RECIPE.model_copy(update={"contamination": 0.1})
    kept = nearest(Queries(to_light(mixed), torch.arange(40)), RECIPE.strokes, 16, 0.1)
    assert kept[:36].all()
    assert not kept[36:].any()
    contaminated = NormalSplit(mixed, np.arange(40), np.arange(40) % 10 == 0)
    gaps = {
        recipe.contamination: scores(fitted, ones[5:]).median() - scores(fitted, zeros).median()
        for recipe in (RECIPE, wary)
        for fitted in [fit_density(contaminated, recipe, 0, FABRIC)]
    }
    assert gaps[0.1] > gaps[0.0] + 0.5


def test_images_far_from_the_core_are_found_without_being_told_how_many(digits: dict[str, np.ndarray]):
    zeros, ones = (images.fit(digits["x_train"][digits["y_train"] == digit], 32) for digit in (0, 1))
    many = np.concatenate([np.roll(zeros, shift, axis=2) for shift in (-1, 0, 1)])
    mixed = Queries(to_light(np.concatenate([many, ones[:6]])), torch.arange(len(many) + 6))
    kept = usual(mixed, RECIPE.surfaces, 16, 2)
    assert not kept[len(many) :].any()
    assert kept[: len(many)].float().mean() > 0.8
    few = mixed[torch.arange(20, 126)][:99]
    assert usual(few, RECIPE.surfaces, 16, 2).all()


def test_textures_are_told_from_digits_and_compared_by_brightness_too(zeros: np.ndarray):
    textures = (128 + 40 * np.random.default_rng(0).normal(size=(60, 32, 32))).clip(0, 255).astype(np.uint8)
    strokes, surfaces = (
        fit_density(split_normal(pixels, 0), RECIPE, 0, FABRIC).density for pixels in (zeros, textures)
    )
    assert (strokes.hull.distance, strokes.brightness) == (RECIPE.strokes, None)
    assert surfaces.hull.distance == RECIPE.surfaces
    assert surfaces.brightness is not None
    assert surfaces.weights.tolist() == [1, RECIPE.surfaces.brightness_weight, RECIPE.surfaces.classifier_weight]
    again = restored(surfaces.saved(), RECIPE)
    light = to_light(textures)
    with torch.no_grad():
        torch.testing.assert_close(again(light), surfaces(light), atol=0, rtol=0)
