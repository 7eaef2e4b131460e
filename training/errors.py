"""What can go wrong for a user who trains; `service.errors` draws the whole tree of errors."""

from service.errors import OddglyphError


class RecipeError(OddglyphError):
    """A recipe, or one of its fields, does not exist or makes no sense."""


class DataError(OddglyphError):
    """A data set cannot be read or downloaded, or does not hold what was asked for."""


class RunError(OddglyphError):
    """A run folder is missing, in the way, or does not fit the request."""


class TrainingError(OddglyphError):
    """Training has gone wrong beyond repair (NaN, collapse)."""


class PublishError(OddglyphError):
    """A run cannot be published, for instance because the exported graph computes other numbers."""


class MetricError(OddglyphError):
    """A metric cannot be computed, for instance because a network's weights are missing."""
