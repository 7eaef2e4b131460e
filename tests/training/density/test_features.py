import numpy as np
import pytest
import torch

from service import images
from training.density.features import (
    BEND,
    CELLS,
    DEFORMATIONS,
    FEATURES,
    ORIENTATIONS,
    Intensities,
    OrientedGradients,
    Pooling,
    energy_map,
)
from training.density.model import to_light
from training.switches import IMAGE_SIZE as SIZE


def bar(horizontal: bool) -> torch.Tensor:
    """A light bar across a dark image [1, 1, 32, 32] in [0, 1]."""
    image = torch.zeros(1, 1, SIZE, SIZE)
    image[:, :, 14:18, :] = 1
    return image if horizontal else image.mT


def test_features_are_a_unit_vector_for_each_cell_size(digits: dict[str, np.ndarray]):
    features = OrientedGradients()(to_light(images.fit(digits["x_test"][:9], SIZE)))
    assert features.shape == (9, FEATURES)
    for part in features.split([ORIENTATIONS * (SIZE // cell) ** 2 for cell in CELLS], dim=1):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(9))


def test_features_ignore_brightness():
    features = OrientedGradients()
    torch.testing.assert_close(features(bar(True)), features(bar(True) / 2), atol=0.01, rtol=0)


def test_a_horizontal_edge_falls_into_the_vertical_directions():
    for horizontal, directions in ((True, {3, 9}), (False, {0, 6})):  # 0 points right, 3 down
        cells = OrientedGradients()(bar(horizontal))[0, : ORIENTATIONS * 64].view(ORIENTATIONS, 8, 8)
        energy = cells[:, 2:6, 2:6].sum(dim=(1, 2))
        assert set(energy.topk(2).indices.tolist()) == directions


def test_a_moved_image_has_other_features():
    features = OrientedGradients()
    assert (features(bar(True)) - features(bar(True).roll(8, dims=2))).norm() > 1


def test_a_blank_image_has_finite_features():
    assert torch.isfinite(OrientedGradients()(torch.zeros(1, 1, SIZE, SIZE))).all()


def test_the_energy_map_is_hot_where_images_differ():
    image = bar(True)
    damaged = image.clone()
    damaged[:, :, :, 20:28] = 0
    features = OrientedGradients()
    heat = energy_map(features(image) - features(damaged))[0]
    assert heat.shape == (SIZE, SIZE)
    row, column = divmod(int(heat.argmax()), SIZE)
    assert 10 <= row < 22
    assert 16 <= column < 32


def test_a_blank_image_is_left_alone_by_deformations_and_others_change_a_little(digits: dict[str, np.ndarray]):
    features = OrientedGradients()
    blank = features.deformed(torch.zeros(2, 1, SIZE, SIZE))
    assert blank.shape == (2, 1 + DEFORMATIONS, FEATURES)
    torch.testing.assert_close(blank, blank[:, :1].expand_as(blank))
    light = to_light(images.fit(digits["x_test"][:20], SIZE))
    deformed = features.deformed(light)
    torch.testing.assert_close(deformed[:, 0], features(light))
    changes = (deformed[:, 1:] - deformed[:, :1]).norm(dim=2)
    assert changes.min() > 0.001
    assert changes.max() < 1


def test_the_first_deformation_of_pooled_maps_is_a_shift_along_x_and_the_seventh_along_y():
    axis = torch.arange(float(SIZE))
    for first, turned in ((1, False), (7, True)):
        wave, moved = (((axis + at) * 0.3).sin().expand(1, 1, SIZE, SIZE) for at in (0, BEND))
        wave, moved = (wave.mT, moved.mT) if turned else (wave, moved)
        pooling = Pooling(4)
        still, expected, found = pooling(wave), pooling(moved), pooling.deformed(wave)[:, first]
        inner = torch.zeros(8, 8, dtype=torch.bool)
        inner[1:-1, 1:-1] = True  # at the edges the map ends
        error = (found - expected)[:, inner.flatten()].abs().max()
        assert error < 0.2 * (still - expected)[:, inner.flatten()].abs().max()


def test_intensities_ignore_the_brightness_of_the_whole_and_keep_the_mean_square_of_smooth_images():
    intensities = Intensities()
    torch.testing.assert_close(intensities(bar(True)), intensities(bar(True) / 3))
    assert intensities(torch.ones(1, 1, SIZE, SIZE)).square().sum().item() == pytest.approx(1)
    assert intensities(torch.zeros(1, 1, SIZE, SIZE)).count_nonzero() == 0
    torch.testing.assert_close(intensities.deformed(bar(True))[:, 0], intensities(bar(True)))
