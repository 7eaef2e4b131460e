"""The tree of errors for users. Each error carries one sentence and an HTTP status.

The errors under "training" are defined in `training.errors`. Only `oddglyph-train` raises them.

    OddglyphError                 400
    + ArtifactError               500   a published model fails its checks, or cannot be published
    + DeviceError                 500   the requested device is not usable
    + UnknownModelError           404   no model has this name
    + UnknownClassError           404   the generator has no class of this name
    + NoReconstructionError       422   the detector has no autoencoder
    + ValueRangeError             422   a parameter is out of range
    + ImageError                  422   an image has the wrong shape, type or values
    | + NotAnImageError           415   the bytes are no image of a supported format
    | + TooLargeError             413   an image or a request is too large
    + SourceError                 400   a batch source cannot be read, or a sink cannot be written
    + AddressError                400   the server cannot listen on the address
    + OverloadedError             503   the queue is full
    + UnavailableError            503   the service has no models
    training
    + RecipeError                 400   a recipe, or one of its fields, makes no sense
    + DataError                   400   a data set cannot be had, or lacks what was asked for
    + RunError                    400   a run folder is missing, in the way, or another run's
    + TrainingError               400   the training diverged or collapsed
    + PublishError                400   a run cannot be published
    + MetricError                 400   a metric cannot be computed
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar, Self


def one_of(given: str, known: Iterable[str], otherwise: str) -> str:
    """Return "expected one of: " with the names `known`, and the one that `given` may have meant, or else what to do.

    raise UnknownModelError(f"model {name!r}: {one_of(name, names, 'see `oddglyph models`')}")
    """
    names = {name.casefold(): name for name in known}
    nearest = difflib.get_close_matches(given.casefold(), names, n=1)
    what_to_do = f"did you mean {names[nearest[0]]}?" if nearest else otherwise
    return f"expected one of: {', '.join(names.values()) or 'none'}; {what_to_do}"


class OddglyphError(Exception):
    """Base of every error whose message is for the user: `<subject>: expected X, got Y; <what to do>`.

    Where nothing was expected, the message says what is wrong: `<subject>: <what is wrong>; <what to do>`.

        raise SourceError(f"{path}: expected images, found none; name a folder that holds some")
    """

    status: ClassVar[int] = 400

    def bare(self) -> Self:
        """Return this error without the frames that it passed: they hold the image, and in a thread pool the error itself."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class ArtifactError(OddglyphError):
    """A published model fails its checks, or cannot be published."""

    status = 500


class DeviceError(OddglyphError):
    """The device that the user requested is not usable."""

    status = 500


class UnknownModelError(OddglyphError):
    """No published model has this name. The message lists the known names."""

    status = 404


class UnknownClassError(OddglyphError):
    """The generator has no class of this name. The message lists its classes."""

    status = 404


class NoReconstructionError(OddglyphError):
    """The detector has no autoencoder, so it cannot reconstruct."""

    status = 422


class ValueRangeError(OddglyphError):
    """A parameter is outside its stated range, or does not fit the model."""

    status = 422


class ImageError(OddglyphError):
    """An image has the wrong shape, type or values."""

    status = 422


class NotAnImageError(ImageError):
    """The bytes are no image of a supported format, or are damaged."""

    status = 415


class TooLargeError(ImageError):
    """An image or a request exceeds a stated limit."""

    status = 413


class SourceError(OddglyphError):
    """A batch source cannot be read, or a sink cannot be written."""


class AddressError(OddglyphError):
    """The server cannot listen on the address."""


class OverloadedError(OddglyphError):
    """The queue is full. The client should come back in a second."""

    status = 503


class UnavailableError(OddglyphError):
    """The service could not load its models. It tries again."""

    status = 503
