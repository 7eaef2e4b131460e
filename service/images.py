"""Image files and arrays -> uint8 pixels for the graphs, and back to PNG. The only user of Pillow.

HTTP, the command line and training all prepare images in the same steps:

1. Decode a PNG, JPEG, WebP, BMP or the first frame of a GIF, and turn it upright by its EXIF orientation.
2. Put transparent parts on the background, and reduce to 8-bit grey (ITU-R 601 luma; 16-bit values divided by 257).
3. Invert if `invert` says that glyphs are dark on light. Models take light glyphs on black, as in MNIST.
4. Pad with black to a square, image in the middle, and resize to the model's size (bilinear, antialiased).
"""

import io
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from service.errors import ImageError, NotAnImageError, TooLargeError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
MAX_IMAGE_BYTES = 10 * 2**20
MAX_IMAGE_SIDE = 4096
MAX_COST = 16 * MAX_IMAGE_SIDE**2  # a progressive JPEG has about ten scans, and each scan visits every pixel
DECODE_THREADS = 2  # images that one process decodes at a time; a WebP may take 260 MB
DRAFT_SIDE = 1024  # a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if both sides stay at least this long
BAND_ROWS = 256  # rows reduced to grey at a time, since a colour pixel takes four times the memory of a grey one
EDGE_COLOUR = 0  # black, as around the digits of MNIST
PICTURE_SCALE, CAPTION_HEIGHT, CAPTION_CHARACTERS = 4, 30, 20  # of a picture with captions
# Files that people take for images, by the bytes at a place.
OTHER_KINDS = (
    (b"ftyphei", 4, "a HEIC photo"),
    (b"ftypavif", 4, "an AVIF image"),
    (b"%PDF", 0, "a PDF"),
    (b"PK", 0, "a ZIP archive"),
    (b"II*\0", 0, "a TIFF image"),
    (b"MM\0*", 0, "a TIFF image"),
    (b"<svg", 0, "an SVG drawing"),
)
SCALE_16_BIT = np.rint(np.arange(2**16) / 257).astype(np.uint8)

# Pillow warns of images that are then decoded or refused anyway. The filter is set once, since threads share filters.
warnings.filterwarnings("ignore", module=r"PIL\.")

Pixels = NDArray[np.uint8]


def decode(data: bytes, size: int, *, invert: bool = False) -> Pixels:
    """Return the image in `data`, the bytes of a file, as grey uint8 pixels [size, size], light glyph on black.

    `invert` says that the file shows a dark glyph on light. Raises NotAnImageError if the bytes are no complete image
    in one of FORMATS. Raises TooLargeError, before decoding, above MAX_IMAGE_BYTES, MAX_IMAGE_SIDE or MAX_COST.

        pixels = decode(Path("seven.png").read_bytes(), 32)
    """
    image = _open(data)
    try:
        return _fit(_upright(image, background=255 if invert else 0), size, invert=invert)
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything for a damaged image
        raise _damaged(error) from None


def cost(data: bytes) -> int:
    """Return the number of pixels that `decode` would visit: width times height, times the scans of a JPEG.

    Only the header is parsed. Raises NotAnImageError and TooLargeError as `decode` does for the header of a file.
    """
    return _cost(_open(data), data)


def fit(pixels: Pixels, size: int, *, invert: bool = False) -> Pixels:
    """Return grey uint8 `pixels` [N, H, W] as [N, size, size], prepared exactly as the same images in files.

    Raises ImageError for another shape or type, TooLargeError above MAX_IMAGE_SIDE.
    """
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
    """Return RGB uint8 `pixels` [N, H, W, 3] as grey [N, H, W], by the same luma as `decode`."""
    return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in pixels])


def encode_png(pixels: Pixels) -> bytes:
    """Return the bytes of a PNG file of uint8 `pixels`, grey [H, W] or RGB [H, W, 3]. Equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def grid(pixels: Pixels, columns: int) -> Pixels:
    """Return uint8 `pixels` [N, H, W] or [N, H, W, 3] as one image of `columns` columns, filled up with black."""
    missing = -len(pixels) % columns
    padded = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)])
    rows = padded.reshape(-1, columns, *pixels.shape[1:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def captioned(pixels: Pixels, captions: Sequence[str], columns: int) -> Pixels:
    """Return grey `pixels` [N, H, W], enlarged, as one image of `columns` a row, each over its caption of two short lines."""
    side = PICTURE_SCALE * pixels.shape[2]
    cells = np.zeros((len(pixels), PICTURE_SCALE * pixels.shape[1] + CAPTION_HEIGHT, side), np.uint8)
    for cell, image, caption in zip(cells, pixels, captions, strict=True):
        cell[:-CAPTION_HEIGHT] = image.repeat(PICTURE_SCALE, axis=0).repeat(PICTURE_SCALE, axis=1)
        strip = Image.new("L", (side, CAPTION_HEIGHT), color=255)
        lines = [line.encode("ascii", "replace").decode()[-CAPTION_CHARACTERS:] for line in caption.split("\n")]
        ImageDraw.Draw(strip).multiline_text((3, 2), "\n".join(lines), fill=0, spacing=2)
        cell[-CAPTION_HEIGHT:] = np.asarray(strip)
    return grid(cells, columns)


def difference(pixels: Pixels, others: Pixels) -> Pixels:
    """Return |pixels - others|, uint8 of the same shape."""
    return np.maximum(pixels, others) - np.minimum(pixels, others)


def colour_heat(heat: NDArray[np.floating]) -> Pixels:
    """Return `heat` [..., H, W] in [0, 1] as RGB uint8 [..., H, W, 3], from black over red and yellow to white."""
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
    except Exception as error:  # noqa: BLE001 - as in `decode`
        raise _damaged(error) from None
    _check_side(*image.size)
    _check_cost(image, data)
    return image


def _damaged(error: Exception) -> NotAnImageError:
    reason = str(error) or type(error).__name__
    return NotAnImageError(f"image: is damaged ({reason}); send a complete file")


def _cost(image: Image.Image, data: bytes) -> int:
    # Coded data never contain the two bytes of a marker. So the count is exact, or too high by the scans of a thumbnail.
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
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))  # does nothing for other formats
    image.load()
    grey = Image.new("L", image.size)
    for top, band in _bands(image):
        grey.paste(_grey(band, background), (0, top))
    grey.info.update(image.info)  # the orientation
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
        grey = ImageOps.pad(grey, (side, side), color=EDGE_COLOUR)
    if side != size:
        grey = grey.resize((size, size), Image.Resampling.BILINEAR)
    return np.array(grey, np.uint8)


def _describe(data: bytes) -> str:
    """Return what `data`, which are no image that can be read, are instead."""
    if not data:
        return "an empty file"
    for start, place, name in OTHER_KINDS:
        if data[place:].startswith(start):
            return name
    is_text = all(32 <= byte < 127 or byte in b"\t\n\r" for byte in data[:64])
    return f"{len(data):,} bytes of {'text' if is_text else 'another kind'}"
