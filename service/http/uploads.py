"""From the body of a request to the pixels that a detector takes."""

import asyncio
from typing import Any

import numpy as np
from fastapi import Request, UploadFile
from starlette.exceptions import HTTPException

from service import images
from service.errors import ImageError, TooLargeError
from service.http.limits import MAX_IMAGES
from service.images import Pixels


async def multipart_only(request: Request) -> None:
    """Refuse a body that is not multipart/form-data."""
    _expect_type(request, "multipart/form-data", "curl -F images=@digit.png")


async def json_only(request: Request) -> None:
    """Refuse a body that is not JSON."""
    _expect_type(request, "application/json", "curl --json @images.json")


def ids_of(sent: list[UploadFile] | list[Any]) -> list[str]:
    """Return the names of files, or the positions of what has no name; an error for none or too many of them."""
    if not sent:
        raise ImageError("images: expected at least one, got none; send some")
    if len(sent) > MAX_IMAGES:
        raise TooLargeError(f"images: expected at most {MAX_IMAGES}, got {len(sent)}; send them in several requests")
    return [getattr(image, "filename", None) or str(index) for index, image in enumerate(sent)]


async def decode(files: list[UploadFile], size: int, *, invert: bool) -> Pixels:
    """Return the pixels [N, size, size] of image files; an ImageError names the first bad one.

    One file after the other, so that what a request still had to decode is dropped when it is cancelled.
    """
    pixels = np.empty((len(files), size, size), np.uint8)
    for name, row, file in zip(ids_of(files), pixels, files, strict=True):
        try:
            row[:] = await asyncio.to_thread(images.decode, await file.read(), size, invert=invert)
        except ImageError as error:
            raise type(error)(f"{name}: {error}") from None
    return pixels


def from_lists(nested: list[Any], size: int, *, invert: bool) -> Pixels:
    """Return the pixels [N, size, size] of images given as nested lists [N][height][width]."""
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
    return images.fit(array.astype(np.uint8), size, invert=invert)


def _expect_type(request: Request, expected: str, example: str) -> None:
    found = request.headers.get("content-type", "none")
    if found.partition(";")[0].strip().lower() != expected:
        raise HTTPException(415, f"content type: expected {expected}, got {found[:80]}; for example: {example}")


def _kind(array: np.ndarray[Any, Any]) -> str:
    return {"f": "fractions", "U": "text", "b": "booleans", "c": "complex numbers"}.get(array.dtype.kind, "a mixture")
