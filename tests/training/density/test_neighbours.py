import numpy as np
import pytest
import torch

from service import images
from training.density.features import OrientedGradients
from training.density.model import to_light
from training.density.neighbours import LocalHull, Queries, principal_components, ridge_regression, separation
from training.density.outliers import jitter
from training.families import Distance
from training.switches import IMAGE_SIZE

DISTANCE = Distance(roots=1, hull=16, stiffness=5e-4, brightness_weight=0, classifier_weight=0)


@pytest.fixture(scope="module")
def light(digits: dict[str, np.ndarray]) -> torch.Tensor:
    return to_light(images.fit(digits["x_train"], IMAGE_SIZE))


def fitted(light: torch.Tensor, groups: torch.Tensor, **changes: object) -> LocalHull:
    hull = LocalHull(OrientedGradients(), len(light), 32, DISTANCE.model_copy(update=changes))
    hull.fit(light, groups, light[:0], torch.Generator().manual_seed(0))
    return hull


def test_ridge_regression_finds_the_minimum():
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 4, 9, generator=rng, dtype=torch.float64)
    target = torch.randn(3, 9, generator=rng, dtype=torch.float64)
    weights, minimum = ridge_regression(rows, target)
    gram = rows @ rows.mT + torch.eye(4)
    best = torch.linalg.solve(gram, rows @ target[:, :, None]).squeeze(2)
    torch.testing.assert_close(weights, best, rtol=1e-4, atol=1e-6)
    left = target - (rows.mT @ best[:, :, None]).squeeze(2)
    torch.testing.assert_close(minimum, left.square().sum(dim=1) + best.square().sum(dim=1), rtol=1e-6, atol=1e-6)


def test_an_image_is_nearer_to_itself_than_to_the_images_of_other_groups(light: torch.Tensor):
    groups = torch.arange(50)
    hull = fitted(light[:50], groups)
    with torch.no_grad():
        itself = hull(light[:50])[0].exp()
    without = hull.leave_group_out(Queries(light[:50], groups)).exp()
    assert (itself < without).all()
    assert itself.median() < 0.8 * without.median()  # not nothing, since leaving the neighbours' mean has its price


def test_leaving_a_group_out_is_fitting_without_it(light: torch.Tensor):
    groups = torch.arange(60) // 20  # three groups, of which the first is left out
    whole, rest = fitted(light[:60], groups), fitted(light[20:60], groups[20:])
    rest.mean, rest.directions = whole.mean, whole.directions  # the components alone see all
    rest.prototypes = whole.prototypes[whole.groups != 0]
    with torch.no_grad():
        expected = rest(light[:20])[0]
    torch.testing.assert_close(whole.leave_group_out(Queries(light[:20], groups[:20])), expected, atol=1e-4, rtol=0)


def test_fewer_images_of_other_groups_than_neighbours_are_enough(light: torch.Tensor):
    groups = torch.tensor([0] * 18 + [1, 1])
    distances = fitted(light[:20], groups).leave_group_out(Queries(light[:20], groups))
    assert torch.isfinite(distances).all()
    assert distances.max() < 5


def test_bending_and_mixing_bring_an_image_nearer(light: torch.Tensor):
    groups = torch.arange(100)
    bent = Queries(jitter(light[:100], torch.Generator().manual_seed(0)), groups + 1000)
    rigid, bendable = (fitted(light[:100], groups, stiffness=price).leave_group_out(bent) for price in (1e3, 1e-4))
    assert (bendable < rigid).float().mean() > 0.95
    apart, mixed = (fitted(light[:100], groups, ridge=price).leave_group_out(bent) for price in (1e3, 0.2))
    assert (mixed < apart).float().mean() > 0.95


def test_components_are_orthonormal_and_the_largest_come_first():
    scales = torch.tensor([1.0, 3.0, 2.0])
    features = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * scales + 5
    mean, directions = principal_components(features, 2)
    torch.testing.assert_close(mean, features.mean(dim=0), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(directions.T @ directions, torch.eye(2), rtol=0, atol=1e-2)
    assert directions[:, 0].abs().argmax() == 1
    assert directions[:, 1].abs().argmax() == 2


def test_separation_counts_the_pairs_in_order_and_ties_half():
    assert separation(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.5])) == 0.75
    assert separation(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 2.0])) == 0.75
