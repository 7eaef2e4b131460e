"""Uploaded files -> pixels for a detector."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from fastapi import Request, UploadFile
from starlette.exceptions import HTTPException

from service import images
from service.errors import ImageError, TooLargeError
from service.http.limits import MAX_IMAGES, MAX_PIXELS, PIXELS_PER_SECOND
from service.http.refusals import SHOWN_CHARACTERS
from service.images import Pixels

# One pool for all requests. Each request has at most one image in the pool, so a cancelled request leaves none behind.
DECODERS = ThreadPoolExecutor(images.DECODE_THREADS, "decode")

T = TypeVar("T")


@dataclass(frozen=True)
class Upload:
    """The N images of a request: grey `pixels` [M, size, size] of the M readable ones, and the errors of the others.

    `ids` [N] and `errors` [N] are in the order sent. The error of a readable image is None.
    """

    ids: list[str]
    errors: list[ImageError | None]
    pixels: Pixels

    @property
    def ids_read(self) -> list[str]:
        """The ids [M] of the readable images."""
        return [name for name, error in zip(self.ids, self.errors, strict=True) if error is None]

    def in_order(self, read: Iterable[T], refused: Callable[[str, str], T]) -> list[T]:
        """Return N rows in the order sent: the M rows `read`, and `refused(id, sentence)` for the other images."""
        rows = iter(read)
        pairs = zip(self.ids, self.errors, strict=True)
        return [next(rows) if error is None else refused(name, str(error)) for name, error in pairs]


async def multipart_only(request: Request) -> None:
    """Raise HTTPException 415 for a body that is not multipart/form-data."""
    _expect_type(request, "multipart/form-data", "curl -F images=@digit.png")


async def json_only(request: Request) -> None:
    """Raise HTTPException 415 for a body that is not JSON."""
    _expect_type(request, "application/json", "curl --json @images.json")


def ids_of(sent: list[UploadFile] | list[Any]) -> list[str]:
    """Return the file names [N] of the images, or their positions if they have no names.

    Raises ImageError for no image, TooLargeError for more than MAX_IMAGES.
    """
    if not sent:
        raise ImageError("images: expected at least one, got none; send some")
    if len(sent) > MAX_IMAGES:
        raise TooLargeError(f"images: expected at most {MAX_IMAGES}, got {len(sent)}; send them in several requests")
    return [getattr(image, "filename", None) or str(index) for index, image in enumerate(sent)]


async def read(files: list[UploadFile], size: int, *, invert: bool, admit: Callable[[float], None]) -> Upload:
    """Return the images in `files` as grey pixels of side `size`.

    Raises TooLargeError before any image is decoded if together they have more than MAX_PIXELS. `admit` is then called
    with the seconds that decoding may take, and may raise. Raises the error of the first image, with its name, if no image
    can be read. Images are decoded one by one, so a cancelled request stops after the current image.
    """
    ids, contents = ids_of(files), [await file.read() for file in files]
    costs = await in_pool(lambda: [_or_error(images.cost, data) for data in contents])
    pixels = sum(cost for cost in costs if isinstance(cost, int))
    _check_pixels(pixels)
    admit(pixels / PIXELS_PER_SECOND)
    decode = partial(images.decode, size=size, invert=invert)
    decoded = [await in_pool(partial(_or_error, decode, data)) for data in contents]
    errors = [each if isinstance(each, ImageError) else None for each in decoded]
    if errors[0] and all(errors):
        raise type(errors[0])(f"{ids[0][:SHOWN_CHARACTERS]}: {errors[0]}")
    return Upload(ids, errors, np.stack([each for each in decoded if not isinstance(each, ImageError)]))


async def in_pool(function: Callable[[], T]) -> T:
    """Return the result of `function`, called in the pool of decoding threads."""
    return await asyncio.get_running_loop().run_in_executor(DECODERS, function)


def _or_error(function: Callable[[bytes], T], data: bytes) -> T | ImageError:
    try:
        return function(data)
    except ImageError as error:
        return error.bare()


def _check_pixels(found: int) -> None:
    if found > MAX_PIXELS:
        raise TooLargeError(
            f"images: expected at most {MAX_PIXELS:,} pixels times scans in a request, got {found:,}; "
            "send fewer or smaller images"
        )


def _expect_type(request: Request, expected: str, example: str) -> None:
    found = request.headers.get("content-type", "none")
    if found.partition(";")[0].strip().lower() != expected:
        raise HTTPException(
            415, f"content type: expected {expected}, got {found[:SHOWN_CHARACTERS]}; for example: {example}"
        )
