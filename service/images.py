"""Between files or arrays and the uint8 pixels that the graphs take; the only user of Pillow.

One way in for everything, HTTP, command line and training alike:

1. decode (PNG, JPEG, WebP, BMP or GIF; of an animation the first frame), turn upright by the EXIF orientation;
2. put transparent parts on the background, reduce to 8-bit grey (ITU-R 601 luma; 16-bit values divided by 257);
3. `invert` if asked to, for dark glyphs on a light ground: models see light glyphs on black, as MNIST stores them;
4. pad to a square with black, glyph in the middle, and resize to the model's size (bilinear, antialiased).
"""

import io
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from service.errors import ImageError, NotAnImageError, TooLargeError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
MAX_IMAGE_BYTES = 10 * 2**20
MAX_IMAGE_SIDE = 4096
MAX_COST = 16 * MAX_IMAGE_SIDE**2  # a progressive JPEG has about ten scans, and each visits every pixel
DECODE_THREADS = 2  # images that one process decodes at a time; the dearest, a WebP, takes 260 MB
DRAFT_SIDE = (
    1024  # a JPEG with longer sides is decoded at a half, a quarter or an eighth of its size, but not below this
)
BAND_ROWS = 256  # rows reduced to grey at a time, since wide pixels take four times as much memory as grey ones
SCALE_16_BIT = np.rint(np.arange(2**16) / 257).astype(np.uint8)

# Pillow warns of images that are refused or decoded all the same; once for the process, as threads share the filters.
warnings.filterwarnings("ignore", module=r"PIL\.")

Pixels = NDArray[np.uint8]


def decode(data: bytes, size: int, *, invert: bool = False) -> Pixels:
    """Return an image file's contents as grey pixels [size, size], light glyph on black.

    `invert` states that the file shows dark on light. Raises NotAnImageError for bytes that are no complete image in
    one of FORMATS; TooLargeError above MAX_IMAGE_BYTES, MAX_IMAGE_SIDE or MAX_COST (checked before decoding).
    """
    image = _open(data)
    try:
        return _fit(_upright(image, background=255 if invert else 0), size, invert=invert)
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises for a damaged image, only this one is refused
        raise _damaged(error) from None


def cost(data: bytes) -> int:
    """Return how many pixels `decode` would visit: width times height, times the scans of a JPEG.

    Only the file's header is read. Raises what `decode` raises for a file that is refused by its header.
    """
    return _cost(_open(data), data)


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
    check_bytes(len(data))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise NotAnImageError(
            f"image: expected {', '.join(FORMATS)}, got {_describe(data)}; convert it first"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLargeError(
            f"image: expected at most {MAX_IMAGE_SIDE} pixels a side, got more ({error}); make it smaller"
        ) from None
    except Exception as error:  # noqa: BLE001 - as above
        raise _damaged(error) from None
    _check_side(*image.size)
    _check_cost(image, data)
    return image


def _damaged(error: Exception) -> NotAnImageError:
    reason = str(error) or type(error).__name__
    return NotAnImageError(f"image: expected a complete image, got a damaged one ({reason}); send it again")


def _cost(image: Image.Image, data: bytes) -> int:
    # Coded data never hold a marker's two bytes, so this count is exact, or too high by those in a thumbnail.
    scans = data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 1
    return image.width * image.height * max(scans, 1)


def _check_cost(image: Image.Image, data: bytes) -> None:
    found = _cost(image, data)
    if found > MAX_COST:
        raise TooLargeError(
            f"image: expected at most {MAX_COST:,} pixels times scans, got {found:,}; save it as a baseline JPEG"
        )


def _check_side(width: int, height: int) -> None:
    if max(width, height) > MAX_IMAGE_SIDE:
        raise TooLargeError(
            f"image: expected at most {MAX_IMAGE_SIDE} pixels a side, got {width} x {height}; make it smaller"
        )


def _upright(image: Image.Image, background: int) -> Image.Image:
    if max(image.size) > DRAFT_SIDE:
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))  # does nothing but for JPEG
    image.load()
    grey = Image.new("L", image.size)
    for top, band in _bands(image):
        grey.paste(_grey(band, background), (0, top))
    grey.info.update(image.info)  # holds the orientation
    return ImageOps.exif_transpose(grey)


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    for top in range(0, image.height, BAND_ROWS):
        yield top, image.crop((0, top, image.width, min(top + BAND_ROWS, image.height)))


def _grey(image: Image.Image, background: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion to "L" would clip, not scale
        return Image.fromarray(SCALE_16_BIT[np.clip(np.asarray(image), 0, 65535)])
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
