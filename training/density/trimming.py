"""Which of the images are fitted on: outliers among them are left out."""

import torch
from torch import Tensor

from training.density.features import OrientedGradients
from training.density.neighbours import BATCH, LocalHull, Queries, features_of, principal_components
from training.families import Distance

CORE = 0.8  # of the images: those in the densest neighbourhoods
NEIGHBOURHOOD = 0.1  # of the images: outliers of one kind are fewer, so they have no neighbourhood of their own
LEAST = 100  # images: fewer do not tell what is usual


def nearest(every: Queries, distance: Distance, components: int, contamination: float) -> Tensor:
    """Return which of the images [n] are most likely normal, all but the fraction `contamination`.

    The images farthest from their k-th nearest image by oriented gradients are dropped. k is the number of images to drop.
    If there are at most k outliers, no outlier has k others of its kind around it.
    """
    to_kth = _to_nth(_placed(every, distance, components), 1 + int(contamination * len(every)))
    return to_kth <= to_kth.quantile(1 - contamination)


def usual(every: Queries, distance: Distance, components: int, tolerance: float) -> Tensor:
    """Return which of the images [n] are at most `tolerance` deviations farther from the core than the median image.

    The core is the CORE of the images that are nearest to their k-th nearest image by oriented gradients, where k is
    NEIGHBOURHOOD of the images. Distances to the hull of the core are taken without the image's own group and without
    bending. Their deviation is estimated from the lower half of their logarithms, where hardly any outlier is. Of fewer than
    LEAST images all count as usual.
    """
    if len(every) < LEAST:
        return torch.ones(len(every), dtype=torch.bool)
    points = _placed(every, distance, components)
    to_kth = _to_nth(points, int(NEIGHBOURHOOD * len(every)))
    core = to_kth <= to_kth.quantile(CORE)
    hull = LocalHull(OrientedGradients(distance.roots), int(core.sum()), points.shape[1], distance)
    hull.prototypes, hull.groups = points[core], every.groups[core]
    from_core = hull.between(points[:, None], every.groups)
    middle = from_core.median()
    return from_core <= middle + tolerance * (middle - from_core.quantile(0.1)) / 1.2816  # of a normal distribution


def _placed(every: Queries, distance: Distance, components: int) -> Tensor:
    """Return the oriented gradients of each image in principal components [n, C]."""
    features = features_of(OrientedGradients(distance.roots), every.light)
    mean, directions = principal_components(features, min(components, len(every)))
    return (features - mean) @ directions


def _to_nth(points: Tensor, n: int) -> Tensor:
    """Return the distance of each point [N] to its `n`-th nearest other one; to the farthest if there are not so many."""
    nth = min(n + 1, len(points))  # the nearest is the point itself
    return torch.cat([torch.cdist(part, points).kthvalue(nth, dim=1).values for part in points.split(BATCH)])
