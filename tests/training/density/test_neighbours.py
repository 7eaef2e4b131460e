import numpy as np
import pytest
import torch

from service import images
from training.density.features import Intensities, OrientedGradients
from training.density.model import to_light
from training.density.neighbours import BEND, RIGID, SIZE, Deformations, Neighbours, orthonormal, separation
from training.density.outliers import outliers


@pytest.fixture(scope="module")
def light(digits: dict[str, np.ndarray]) -> torch.Tensor:
    return to_light(images.fit(digits["x_train"], SIZE))


def test_the_first_deformation_is_a_shift_by_a_part_of_a_pixel():
    x = torch.arange(float(SIZE)).expand(1, 1, SIZE, SIZE)
    wave, moved = ((at * 0.3).sin() / 2 + 0.5 for at in (x, x + BEND))
    deformed = next(iter(Deformations()(wave)))
    inner = slice(1, SIZE - 1)
    assert (deformed - moved)[..., inner].abs().max() < 0.15 * (wave - moved)[..., inner].abs().max()


def test_deformations_are_twelve_small_and_leave_a_blank_image_alone(light: torch.Tensor):
    changes = [(deformed - light).abs().mean() for deformed in Deformations()(light)]
    assert len(changes) == 12
    assert max(changes) < 0.5 * light.mean()
    blank = torch.zeros(2, 1, SIZE, SIZE)
    assert all(torch.equal(deformed, blank) for deformed in Deformations()(blank))


def test_orthonormal_rows_leave_what_the_best_combination_of_tangents_leaves():
    rng = torch.Generator().manual_seed(0)
    tangents = torch.randn(3, 4, 9, generator=rng, dtype=torch.float64)
    gap, penalty = torch.randn(3, 9, generator=rng, dtype=torch.float64), 0.3
    left = gap.square().sum(dim=1) - (orthonormal(tangents, penalty) @ gap[:, :, None]).square().sum(dim=(1, 2))
    gram = tangents @ tangents.mT + penalty * torch.eye(4)
    best = torch.linalg.solve(gram, tangents @ gap[:, :, None])
    residual = gap - (tangents.mT @ best).squeeze(2)
    expected = residual.square().sum(dim=1) + penalty * best.square().sum(dim=(1, 2))
    torch.testing.assert_close(left, expected, rtol=1e-6, atol=1e-6)


def test_rigid_distance_with_all_components_is_the_euclidean_one(light: torch.Tensor):
    neighbours = Neighbours(Intensities(), 200, 256, 3)
    neighbours.fit(light[:200], torch.Generator().manual_seed(0))
    features = Intensities()(light)
    nearest, chosen = torch.cdist(features[200:240], features[:200]).topk(3, largest=False)
    distance, mean = neighbours(light[200:240])
    torch.testing.assert_close(distance, (nearest.square().mean(dim=1) + 1e-3).log(), atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(mean, features[chosen].mean(dim=1), atol=1e-2, rtol=1e-2)


def test_a_bent_image_is_nearer_if_bending_is_cheap_and_the_distance_falls_with_the_stiffness(light: torch.Tensor):
    neighbours = Neighbours(OrientedGradients(), 100, 64, 1)
    neighbours.fit(light[:100], torch.Generator().manual_seed(0))
    bent = list(Deformations()(light[:100]))[8]
    distances = []
    for stiffness in (RIGID, 1e-2, 1e-4):
        neighbours.stiffness = stiffness
        distances.append(neighbours(bent)[0].mean())
    assert distances[0] > distances[1] > distances[2]


def test_the_stiffness_that_separates_best_is_chosen(light: torch.Tensor):
    neighbours = Neighbours(OrientedGradients(), 300, 64, 3)
    rng = torch.Generator().manual_seed(0)
    neighbours.fit(light[:300], rng)
    odd = outliers(light[300:360], rng)[0]
    chosen = separation(*neighbours.fit_stiffness(light[300:360], odd))
    neighbours.stiffness = RIGID
    assert chosen >= separation(neighbours(light[300:360])[0], neighbours(odd)[0])


def test_separation_counts_the_pairs_in_order():
    assert separation(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.5])) == 0.75
