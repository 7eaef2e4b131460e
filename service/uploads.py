"""From the body of a request to the pixels that a detector takes."""

import asyncio
from typing import Any

import numpy as np
from fastapi import Request, UploadFile
from starlette.exceptions import HTTPException

from service import images
from service.errors import ImageError, TooLargeError
from service.images import Pixels
from service.limits import MAX_IMAGES


async def multipart_only(request: Request) -> None:
    """Refuse a body that is not multipart/form-data."""
    _expect_type(request, "multipart/form-data", "curl -F images=@digit.png")


async def json_only(request: Request) -> None:
    """Refuse a body that is not JSON."""
    _expect_type(request, "application/json", "curl --json @images.json")


async def decode(uploads: list[UploadFile], size: int, *, invert: bool) -> tuple[list[str], Pixels]:
    """Return the ids of the files, their names, and their pixels [N, size, size]; the first bad file is an ImageError.

    One file after the other, so that what a request still had to decode is dropped when it is cancelled.
    """
    _expect_count(len(uploads))
    ids = [upload.filename or str(index) for index, upload in enumerate(uploads)]
    pixels = np.empty((len(uploads), size, size), np.uint8)
    for name, row, upload in zip(ids, pixels, uploads, strict=True):
        try:
            row[:] = await asyncio.to_thread(images.decode, await upload.read(), size, invert=invert)
        except ImageError as error:
            raise type(error)(f"{name}: {error}") from None
    return ids, pixels


def from_lists(nested: list[Any], size: int, *, invert: bool) -> tuple[list[str], Pixels]:
    """Return ids "0", "1" and so on, and the pixels [N, size, size], of images as nested lists [N][height][width]."""
    _expect_count(len(nested))
    try:
        array = np.array(nested)
    except ValueError:
        raise ImageError("images: expected rows of equal length in [N][height][width], got ragged lists") from None
    if array.ndim != 3 or 0 in array.shape:
        raise ImageError(f"images: expected [N][height][width], got the shape {list(array.shape)}; reshape them")
    if array.dtype.kind not in "iu":
        raise ImageError(f"images: expected integers from 0 to 255, got {_kind(array)}; send grey values")
    if array.min() < 0 or array.max() > 255:
        raise ImageError(f"images: expected integers from 0 to 255, got {array.min()} to {array.max()}; rescale them")
    return [str(index) for index in range(len(array))], images.fit(array.astype(np.uint8), size, invert=invert)


def _expect_type(request: Request, expected: str, example: str) -> None:
    found = request.headers.get("content-type", "none")
    if found.partition(";")[0].strip().lower() != expected:
        raise HTTPException(415, f"content type: expected {expected}, got {found[:80]}; for example: {example}")


def _expect_count(count: int) -> None:
    if count == 0:
        raise ImageError("images: expected at least one, got none; send some")
    if count > MAX_IMAGES:
        raise TooLargeError(f"images: expected at most {MAX_IMAGES}, got {count}; send them in several requests")


def _kind(array: np.ndarray[Any, Any]) -> str:
    return {"f": "fractions", "U": "text", "b": "booleans", "c": "complex numbers"}.get(array.dtype.kind, "a mixture")
