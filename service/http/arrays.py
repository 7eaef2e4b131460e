"""JSON bodies -> pixels for a detector, in time and memory bounded by the size of the body."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from service import images
from service.errors import ImageError
from service.http.limits import MAX_IMAGES
from service.http.refusals import short
from service.images import MAX_IMAGE_SIDE, Pixels

# A byte of JSON may become a costly object: an empty list takes 64 bytes, and each name in an object is checked.
MAX_NAMES = 64
MAX_COUNTS = {"[": 1 + MAX_IMAGES * (1 + MAX_IMAGE_SIDE), "{": MAX_NAMES, '"': MAX_NAMES}
KINDS = {
    int: "integers",
    float: "fractions",
    str: "text",
    bool: "booleans",
    type(None): "null",
    list: "lists",
    dict: "objects",
}

Body = TypeVar("Body", bound=BaseModel)


def parse(body: bytes, form: type[Body], max_counts: Mapping[str, int] = MAX_COUNTS) -> Body:
    """Return the `form` in a JSON body, its arrays still nested lists.

    Raises RequestValidationError for what is no JSON or has wrong fields, ImageError for more characters than
    `max_counts` allows.
    """
    if not body:
        raise RequestValidationError([{"type": "missing", "loc": ("body",)}])
    for character, most in max_counts.items():
        if (found := body.count(character.encode())) > most:
            raise ImageError(
                f"body: expected at most {most:,} characters {character}, got {found:,}; see /docs.json for the format"
            )
    try:
        return form.model_validate(_loads(body), strict=True)
    except ValidationError as error:
        errors = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(errors) from None


def pixels(nested: list[Any], size: int, *, invert: bool) -> Pixels:
    """Return grey pixels [N, size, size] for `nested` lists [N][height][width] of integers from 0 to 255.

    `invert` says that the images show dark glyphs on light. Raises ImageError for other shapes or values.
    """
    height, width = _length(nested[0], "an image"), _length(nested[0][0], "a row")
    data = b"".join(_row(row, width) for image in nested for row in _rows(image, height))
    return images.fit(np.frombuffer(data, np.uint8).reshape(len(nested), height, width), size, invert=invert)


def _loads(body: bytes) -> Any:
    try:
        return json.loads(body.decode())
    except json.JSONDecodeError as error:
        raise _no_json(error.msg, error.pos) from None
    except UnicodeDecodeError as error:
        raise _no_json("not UTF-8", error.start) from None
    except (ValueError, RecursionError) as error:  # too many digits in an integer, or lists nested too deep
        raise _no_json(str(error), 0) from None


def _no_json(reason: str, place: int) -> RequestValidationError:
    return RequestValidationError([{"type": "json_invalid", "loc": ("body", place), "ctx": {"error": reason}}])


def _length(value: Any, what: str) -> int:
    if type(value) is not list:
        raise ImageError(f"images: expected [N][height][width], got {short(value)} in place of {what}; reshape them")
    if not value:
        raise ImageError(f"images: expected [N][height][width], got an empty list as {what}; remove it")
    return len(value)


def _rows(image: Any, height: int) -> list[Any]:
    if _length(image, "an image") != height:
        raise _ragged(height, len(image))
    rows: list[Any] = image
    return rows


def _row(row: Any, width: int) -> bytes:
    if _length(row, "a row") != width:
        raise _ragged(width, len(row))
    if float in {type(value) for value in row}:  # 255.0 is an integer to JSON, and how NumPy writes its floats
        row = [int(value) if type(value) is float and value.is_integer() else value for value in row]
    if others := {type(value) for value in row} - {int}:
        kinds = " and ".join(sorted(KINDS[each] for each in others))
        raise ImageError(f"images: expected integers from 0 to 255, got {kinds}; send grey values")
    try:
        return bytes(row)
    except ValueError:
        found = f"{short(min(row))} to {short(max(row))}"
        raise ImageError(f"images: expected integers from 0 to 255, got {found}; rescale them") from None


def _ragged(expected: int, found: int) -> ImageError:
    return ImageError(
        f"images: expected lists of equal length in [N][height][width], got ragged lists of {expected} and {found}; "
        "make the images one size"
    )
