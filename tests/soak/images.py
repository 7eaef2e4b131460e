"""Damaged images of every format, to find errors that `decode` lets out: python tests/soak/images.py --count 100000.

Prints the seed, so that a run can be repeated, and each escaped error with the number of its image. The tests decode
a few hundred by a fixed seed.
"""

import argparse
import io
import sys
from collections.abc import Iterator

import numpy as np
from PIL import Image

from service import images
from service.errors import ImageError

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 4), np.uint8)
SIDES = (0, 1, 2**14, 2**16 - 1, 2**31 - 1, 2**32 - 1)  # widths and heights that a hostile header declares


def whole() -> dict[str, bytes]:
    """Return an intact file of each kind, with an EXIF orientation where the format can hold EXIF."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    colour, grey = Image.fromarray(PICTURE[..., :3]), Image.fromarray(PICTURE[..., 0])
    wide = Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257)
    return {
        "PNG": _file(colour, "PNG", exif=exif),
        "RGBA PNG": _file(Image.fromarray(PICTURE), "PNG"),
        "16-bit PNG": _file(wide, "PNG", exif=exif),
        "JPEG": _file(colour, "JPEG", exif=exif),
        "progressive JPEG": _file(colour, "JPEG", exif=exif, progressive=True),
        "WEBP": _file(colour, "WEBP", exif=exif),
        "lossless WEBP": _file(colour, "WEBP", exif=exif, lossless=True),
        "BMP": _file(colour, "BMP"),
        "GIF": _file(grey, "GIF", save_all=True, append_images=[colour]),
    }


def damaged(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` files as (kind, contents), each with a few bytes changed, removed or inserted."""
    generator, files = np.random.default_rng(seed), list(whole().items())
    for number in range(count):
        kind, data = files[number % len(files)]
        yield kind, _damage(bytearray(data), generator)


def _damage(data: bytearray, generator: np.random.Generator) -> bytes:
    for _ in range(generator.integers(1, 6)):
        # Every other change falls into the first 100 bytes, since headers are short and decide most.
        at = int(generator.integers(0, 100 if generator.random() < 0.5 else len(data)))
        match generator.integers(0, 4):
            case 0:
                data[at : at + 1] = generator.bytes(1)
            case 1:
                del data[at : at + int(generator.integers(1, 9))]
            case 2:
                data[at:at] = generator.bytes(int(generator.integers(1, 9)))
            case _:
                side = SIDES[generator.integers(0, len(SIDES))]
                data[at : at + 4] = side.to_bytes(4, "little" if generator.random() < 0.5 else "big")
    return bytes(data)


def _file(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def main() -> None:
    """Decode damaged files. The exit status is 1 if any error but ImageError was raised."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().entropy) % 2**32)
    arguments = parser.parse_args()
    escaped = refused = 0
    for number, (kind, data) in enumerate(damaged(arguments.count, arguments.seed)):
        try:
            images.decode(data, 28)
        except ImageError:
            refused += 1
        except Exception as error:  # noqa: BLE001 - the soak looks for any other error
            escaped += 1
            sys.stdout.write(f"{number} {kind}: {type(error).__name__}: {error}\n")
    sys.stdout.write(
        f"seed {arguments.seed}: {arguments.count:,} images, {refused:,} refused, {escaped:,} escaped errors\n"
    )
    sys.exit(escaped > 0)


if __name__ == "__main__":
    main()
