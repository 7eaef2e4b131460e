"""What can go wrong for a user; each error carries one sentence, and the HTTP status that it becomes.

The whole tree. The errors under "training" are in `training.errors`; only `oddglyph-train` raises them.

    OddglyphError                 400
    + ArtifactError               500   a published model does not prove itself, or cannot be published
    + DeviceError                 500   the demanded device is not usable
    + UnknownModelError           404   no model has this name
    + UnknownClassError           404   the generator knows no such class
    + ValueRangeError             422   a parameter is out of range
    + ImageError                  422   an image has the wrong shape, type or values
    | + NotAnImageError           415   the bytes are no image
    | + TooLargeError             413   an image or a request is too large
    + SourceError                 400   a batch source cannot be read, or a sink cannot be written
    + AddressError                400   the server cannot listen there
    + OverloadedError             503   the queue is full
    training
    + RecipeError                 400   a recipe, or one of its fields, makes no sense
    + DataError                   400   a data set cannot be had, or lacks what was asked for
    + RunError                    400   a run folder is missing, in the way, or another run's
    + TrainingError               400   the training diverged or collapsed
    + PublishError                400   a run cannot be published
    + MetricError                 400   a metric cannot be computed
"""

from typing import ClassVar


class OddglyphError(Exception):
    """Base of every error whose message is meant for the user: `<subject>: expected X, got Y; <what to do>`."""

    status: ClassVar[int] = 400


class ArtifactError(OddglyphError):
    """A published model does not prove itself, so it is not loaded."""

    status = 500


class DeviceError(OddglyphError):
    """The device the user demanded is not usable."""

    status = 500


class UnknownModelError(OddglyphError):
    """No published model has this name; the message lists those there are."""

    status = 404


class UnknownClassError(OddglyphError):
    """The generator knows no such class; the message lists those it knows."""

    status = 404


class ValueRangeError(OddglyphError):
    """A parameter lies outside its stated range, or does not fit the model."""

    status = 422


class ImageError(OddglyphError):
    """An image has the wrong shape, type or values."""

    status = 422


class NotAnImageError(ImageError):
    """The bytes are not an image in a supported format, or are damaged."""

    status = 415


class TooLargeError(ImageError):
    """An image or a request exceeds a stated limit."""

    status = 413


class SourceError(OddglyphError):
    """A batch source cannot be read at all, or a sink cannot be written."""


class AddressError(OddglyphError):
    """The server cannot listen at the address it was given."""


class OverloadedError(OddglyphError):
    """The queue is full; the client should come back in a second."""

    status = 503
