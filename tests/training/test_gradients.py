import numpy as np
import torch

from service import images
from training.data import to_images
from training.gradients import GRADIENT_FEATURES, OrientedGradients, Ppca, deskew


def bar(angle_degrees: float) -> torch.Tensor:
    """A light bar through the middle of a dark image [1, 1, 32, 32] in [-1, 1]."""
    y, x = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(32) - 15.5, indexing="ij")
    angle = torch.deg2rad(torch.tensor(angle_degrees))
    across, along = x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()
    return (2 * (torch.sigmoid(2 * (2 - across.abs())) * torch.sigmoid(2 * (10 - along.abs()))) - 1)[None, None]


def test_features_are_unit_vectors_of_the_stated_length(digits: dict[str, np.ndarray]):
    pixels = torch.from_numpy(images.fit(digits["x_test"][:9], 32))
    features = OrientedGradients()(to_images(pixels))
    assert features.shape == (9, GRADIENT_FEATURES)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(9))


def test_features_ignore_brightness():
    features = OrientedGradients()
    dim = (bar(10) + 1) / 2 - 1
    torch.testing.assert_close(features(bar(10)), features(dim), atol=0.01, rtol=0)


def test_a_horizontal_edge_falls_into_the_vertical_directions():
    image = torch.full((1, 1, 32, 32), -1.0)
    image[:, :, 14:18, :] = 1
    cells = OrientedGradients()(image).view(8, 8, 8)
    energy = cells[:, 2:6, 2:6].sum(dim=(1, 2))
    assert set(energy.topk(2).indices.tolist()) == {2, 6}  # down and up; 0 points right


def test_deskewing_turns_a_sheared_bar_upright_and_into_the_middle():
    leaning = torch.roll((bar(15) + 1) / 2, (3, -4), dims=(2, 3))
    torch.testing.assert_close(deskew(leaning), deskew((bar(0) + 1) / 2), atol=0.35, rtol=0)
    assert (deskew(leaning) - deskew((bar(0) + 1) / 2)).abs().mean() < 0.02
    assert (leaning - (bar(0) + 1) / 2).abs().mean() > 0.1


def test_a_blank_image_has_finite_features():
    blank = torch.full((1, 1, 32, 32), -1.0)
    assert torch.isfinite(OrientedGradients()(blank)).all()


def test_ppca_with_one_direction_left_is_the_mahalanobis_distance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + 5
    density = Ppca(4, 3)
    density.fit(torch.from_numpy(points).float())
    centred = points - points.mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(points.T, bias=True)), centred) / 4)
    np.testing.assert_allclose(density(torch.from_numpy(points).float()), expected, rtol=1e-3)


def test_ppca_gives_all_further_directions_their_mean_variance():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(20_000, 3)) * (9, 2, 1)).float()
    density = Ppca(3, 1)
    density.fit(points)
    assert abs(density.rest_variance.item() - (4 + 1) / 2) < 0.1
    second, third = density(density.mean + torch.tensor([[0.0, 5, 0], [0, 0, 5]]))
    assert abs(second - third) < 0.05
