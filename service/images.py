"""Between files or arrays and the uint8 pixels that the graphs take; the only user of Pillow.

One way in for everything, HTTP, command line and training alike:

1. decode (PNG, JPEG, WebP, BMP or GIF; of an animation the first frame), turn upright by the EXIF orientation;
2. put transparent parts on the background, reduce to 8-bit grey (ITU-R 601 luma; 16-bit values divided by 257);
3. `invert` if asked to, for dark glyphs on a light ground: models see light glyphs on black, as MNIST stores them;
4. pad to a square with black, glyph in the middle, and resize to the model's size (bilinear, antialiased).
"""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from service.errors import ImageError, NotAnImageError, TooLargeError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
MAX_IMAGE_BYTES = 10 * 2**20
MAX_IMAGE_SIDE = 4096

Pixels = NDArray[np.uint8]


def decode(data: bytes, size: int, *, invert: bool = False) -> Pixels:
    """Return an image file's contents as grey pixels [size, size], light glyph on black.

    `invert` states that the file shows dark on light. Raises NotAnImageError for bytes that are no complete image in
    one of FORMATS, TooLargeError above MAX_IMAGE_BYTES or MAX_IMAGE_SIDE (checked before decoding).
    """
    check_bytes(len(data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _fit(_grey(_open(data), background=255 if invert else 0), size, invert=invert)
    except UnidentifiedImageError:
        raise NotAnImageError(
            f"image: expected {', '.join(FORMATS)}, got {_describe(data)}; convert it first"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, ArithmeticError) as error:
        raise NotAnImageError(f"image: expected a complete image, got a damaged one ({error}); send it again") from None


def fit(pixels: Pixels, size: int, *, invert: bool = False) -> Pixels:
    """Return grey uint8 `pixels` [N, H, W] as [N, size, size], treated exactly as the same images in files would be."""
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape[1:]:
        raise ImageError(
            f"images: expected uint8 [N, H, W], got {pixels.dtype} {list(pixels.shape)}; convert them first"
        )
    _check_side(pixels.shape[2], pixels.shape[1])
    if pixels.shape[1:] == (size, size):
        return np.bitwise_not(pixels) if invert else pixels
    out = np.empty((len(pixels), size, size), np.uint8)
    for row, image in zip(out, pixels, strict=True):
        row[:] = _fit(Image.fromarray(image), size, invert=invert)
    return out


def check_bytes(count: int) -> None:
    """Raise TooLargeError for an image file of more than MAX_IMAGE_BYTES bytes."""
    if count > MAX_IMAGE_BYTES:
        raise TooLargeError(f"image: expected at most {MAX_IMAGE_BYTES:,} bytes, got {count:,}; send a smaller one")


def to_grey(pixels: Pixels) -> Pixels:
    """Return RGB uint8 `pixels` [N, H, W, 3] as grey [N, H, W], by the luma that `decode` uses."""
    return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in pixels])


def encode_png(pixels: Pixels) -> bytes:
    """Return grey [H, W] or RGB [H, W, 3] uint8 `pixels` as a PNG file's contents; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def grid(pixels: Pixels, columns: int) -> Pixels:
    """Return `pixels` [N, H, W] or [N, H, W, 3] as one image, row by row, short rows filled with black."""
    missing = -len(pixels) % columns
    padded = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)])
    rows = padded.reshape(-1, columns, *pixels.shape[1:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def colour_heat(heat: NDArray[np.floating]) -> Pixels:
    """Return `heat` [H, W] in [0, 1] as RGB uint8 [H, W, 3]: black, red, yellow, white with growing heat."""
    ramps = np.stack([3 * heat, 3 * heat - 1, 3 * heat - 2], axis=-1)
    return np.asarray(np.rint(255 * np.clip(ramps, 0, 1)), np.uint8)


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_side(*image.size)
    image.load()
    return ImageOps.exif_transpose(image)


def _check_side(width: int, height: int) -> None:
    if max(width, height) > MAX_IMAGE_SIDE:
        raise TooLargeError(
            f"image: expected at most {MAX_IMAGE_SIDE} pixels a side, got {width} x {height}; make it smaller"
        )


def _grey(image: Image.Image, background: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion to "L" would clip, not scale
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray(np.rint(np.clip(wide, 0, 65535) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (background, background, background, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("L")


def _fit(grey: Image.Image, size: int, *, invert: bool) -> Pixels:
    if invert:
        grey = ImageOps.invert(grey)
    side = max(grey.size)
    if grey.size != (side, side):
        grey = ImageOps.pad(grey, (side, side), color=0)
    if side != size:
        grey = grey.resize((size, size), Image.Resampling.BILINEAR)
    return np.array(grey, np.uint8)


def _describe(data: bytes) -> str:
    return f"{len(data):,} bytes that begin {data[:8]!r}" if data else "an empty file"
