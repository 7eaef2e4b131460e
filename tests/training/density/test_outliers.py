import numpy as np
import pytest
import torch

from service import images
from training.density.model import to_light
from training.density.outliers import KINDS, jitter, outliers


@pytest.fixture(scope="module")
def light(digits: dict[str, np.ndarray]) -> torch.Tensor:
    return to_light(images.fit(digits["x_train"][:48], 32))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_every_image_and_keeps_the_range(light: torch.Tensor, kind: str):
    made = KINDS[kind](light, generator())
    assert made.shape == light.shape
    assert made.min() >= 0
    assert made.max() <= 1 + 1e-6
    assert (made - light).abs().flatten(1).amax(dim=1).min() > 0.1


def test_all_kinds_come_evenly(light: torch.Tensor):
    made, kinds, sources = outliers(light, generator())
    assert sorted(sources.tolist()) == list(range(len(light)))
    assert len(made) == len(light)
    assert torch.bincount(kinds, minlength=len(KINDS)).tolist() == [len(light) // len(KINDS)] * len(KINDS)


def test_the_same_generator_state_gives_the_same_outliers(light: torch.Tensor):
    torch.testing.assert_close(outliers(light, generator())[0], outliers(light, generator())[0], atol=0, rtol=0)


def test_fewer_images_than_kinds_are_enough(light: torch.Tensor):
    made, kinds, _ = outliers(light[:3], generator())
    assert made.shape == (3, 1, 32, 32)
    assert len(set(kinds.tolist())) == 3


def test_erasing_only_takes_light_away_and_strokes_only_add(light: torch.Tensor):
    assert (KINDS["erase"](light, generator()) <= light).all()
    assert (KINDS["add_stroke"](light, generator()) >= light).all()


def test_jitter_changes_less_than_any_outlier(light: torch.Tensor):
    def change(made: torch.Tensor) -> float:
        return (made - light).abs().mean().item()

    assert 0 < change(jitter(light, generator())) < change(KINDS["warp"](light, generator()))
