import contextlib
import io
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from soak.images import whole

from service import images
from service.errors import ImageError, NotAnImageError, TooLargeError

GREY = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
RGB = np.stack([GREY, GREY, GREY], axis=-1)


def encoded(image: Image.Image, format_: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


LOSSLESS = {
    "grey PNG": encoded(Image.fromarray(GREY)),
    "RGB PNG": encoded(Image.fromarray(RGB)),
    "RGBA PNG": encoded(Image.fromarray(RGB).convert("RGBA")),
    "grey and alpha PNG": encoded(Image.fromarray(GREY).convert("LA")),
    "16-bit PNG": encoded(Image.fromarray(GREY.astype(np.uint16) * 257)),
    "BMP": encoded(Image.fromarray(GREY), "BMP"),
    "WebP": encoded(Image.fromarray(RGB), "WEBP", lossless=True),
    "GIF": encoded(Image.fromarray(GREY), "GIF"),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_picture_gives_the_same_pixels_in_every_lossless_form(name: str):
    assert np.array_equal(images.decode(LOSSLESS[name], 28), GREY)


def test_jpeg_gives_nearly_the_same_pixels(digits: dict[str, np.ndarray]):
    digit = digits["x_test"][0]
    decoded = images.decode(encoded(Image.fromarray(digit), "JPEG", quality=95), 28)
    assert np.abs(decoded.astype(int) - digit).mean() < 3


def test_one_bit_images_become_black_and_white():
    assert np.array_equal(images.decode(encoded(Image.fromarray(GREY > 127)), 28), np.where(GREY > 127, 255, 0))


def test_an_animation_is_its_first_frame():
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    assert np.array_equal(images.decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), 28), GREY)


def test_exif_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6  # the image is upright after a turn by 90 degrees clockwise
    stored = encoded(Image.fromarray(GREY), "PNG", exif=exif)
    assert np.array_equal(images.decode(stored, 28), np.rot90(GREY, -1))


@pytest.mark.parametrize(("invert", "half_clear"), [(False, 50), (True, 78)])
def test_transparency_is_background_whichever_way_round(invert: bool, half_clear: int):
    colours = np.array([[[100, 100, 100, 0], [100, 100, 100, 128]]], np.uint8).repeat(2, 0)
    decoded = images.decode(encoded(Image.fromarray(colours)), 2, invert=invert)
    assert decoded.tolist() == [[0, half_clear]] * 2


def test_invert_turns_dark_on_light_into_light_on_dark():
    dark = encoded(Image.fromarray(255 - GREY))
    assert np.array_equal(images.decode(dark, 28, invert=True), GREY)


def test_other_shapes_are_padded_with_black_around_the_middle():
    tall = np.full((40, 20), 255, np.uint8)
    fitted = images.decode(encoded(Image.fromarray(tall)), 40)
    assert np.all(fitted[:, 10:30] == 255)
    assert np.all(fitted[:, :10] == 0)
    assert np.all(fitted[:, 30:] == 0)


@given(
    st.integers(1, 60).flatmap(lambda height: st.tuples(st.just(height), st.integers(1, 60))),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_arrays_and_files_are_treated_alike(shape: tuple[int, int], seed: int, invert: bool):
    pixels = np.random.default_rng(seed).integers(0, 256, (2, *shape), np.uint8)
    files = [images.decode(images.encode_png(image), 32, invert=invert) for image in pixels]
    assert np.array_equal(images.fit(pixels, 32, invert=invert), np.stack(files))


@pytest.mark.parametrize("data", [b"", b"no image", images.encode_png(GREY)[:100], b"%PDF-1.7", b"GIF89a"])
def test_what_is_no_image_is_refused(data: bytes):
    with pytest.raises(NotAnImageError, match=r"image: (expected PNG, JPEG|is damaged)"):
        images.decode(data, 28)


@given(st.binary(max_size=64), st.integers(0, 200))
def test_damaged_files_never_raise_anything_else(noise: bytes, at: int):
    data = images.encode_png(GREY)
    with contextlib.suppress(ImageError):
        assert images.decode(data[:at] + noise + data[at + len(noise) :], 28).shape == (28, 28)


@pytest.mark.parametrize("kind", whole())
def test_the_files_that_are_damaged_are_whole_before(kind: str):
    assert images.decode(whole()[kind], 28).shape == (28, 28)


def test_damaged_exif_is_no_other_error():
    for prefix in (b"II*\0\x08\0\0\0\x01", b"II*\0\xff\xff\xff\xff", b"II*", b""):
        with contextlib.suppress(NotAnImageError):
            images.decode(encoded(Image.fromarray(GREY), "JPEG", exif=b"Exif\0\0" + prefix), 28)


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    bomb = encoded(Image.new("1", (13_312, 13_312)))
    assert len(bomb) < 100_000
    with pytest.raises(TooLargeError, match="13312 x 13312"):
        images.decode(bomb, 28)


def declaring(width: int, height: int) -> bytes:
    """Return a BMP without pixels whose header declares `width` x `height` pixels."""
    data = bytearray(encoded(Image.fromarray(GREY), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


@pytest.mark.parametrize("side", [4097, 13_400, 100_000])
def test_more_pixels_than_pillow_itself_allows_are_too_large_as_well(side: int):
    for read in (images.cost, lambda data: images.decode(data, 28)):
        with pytest.raises(TooLargeError, match="at most 4096 pixels a side"):
            read(declaring(side, side))


def with_scans(side: int, count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated `count` times."""
    data = encoded(Image.new("L", (side, side), 9), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * count + data[-2:]


def test_cost_is_pixels_times_scans():
    assert images.cost(encoded(Image.new("L", (300, 20)))) == 6000
    assert images.cost(encoded(Image.new("L", (300, 20)), "JPEG")) == 6000
    before, after = (images.cost(with_scans(64, count)) for count in (1, 11))
    assert after - before == 10 * 64 * 64


def test_a_jpeg_of_a_thousand_scans_is_refused_unless_it_is_small():
    with pytest.raises(TooLargeError, match="pixels times scans"):
        images.decode(with_scans(4096, 1000), 28)
    assert np.abs(images.decode(with_scans(64, 1000), 28).astype(int) - 9).max() <= 1


def test_ordinary_progressive_jpegs_of_the_largest_size_are_taken():
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    large = Image.fromarray(colours).resize((4096, 4096), Image.Resampling.NEAREST)
    decoded = images.decode(encoded(large, "JPEG", progressive=True, quality=95), 16)
    assert np.abs(decoded.astype(int) - images.decode(encoded(large), 16)).max() <= 1


def test_every_16_bit_value_is_divided_by_257_and_rounded():
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(images.decode(encoded(Image.fromarray(values)), 256), np.rint(values / 257))


LARGE = {
    "16-bit PNG": (Image.fromarray(np.zeros((4096, 4096), np.uint16)), "PNG"),
    "RGBA PNG": (Image.new("RGBA", (4096, 4096), (1, 2, 3, 4)), "PNG"),
    "JPEG": (Image.new("RGB", (4096, 4096), (1, 2, 3)), "JPEG"),
}


@pytest.mark.parametrize(("name", "megabytes"), [("16-bit PNG", 100), ("RGBA PNG", 140), ("JPEG", 40)])
def test_the_largest_images_take_little_memory(name: str, megabytes: int, tmp_path: Path):
    (tmp_path / "image").write_bytes(encoded(*LARGE[name]))
    code = (
        "import resource, sys; from service import images; data = open(sys.argv[1], 'rb').read()\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "images.decode(images.encode_png(images.np.zeros((28, 28), 'uint8')), 28); before = peak()\n"
        "images.decode(data, 28); print(peak() - before)"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "image"], capture_output=True, text=True, check=True)
    assert int(run.stdout) * 1024 < megabytes * 2**20


def test_decoding_in_threads_leaves_the_warning_filters_alone():
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: images.decode(data, 28), [LOSSLESS["GIF"]] * 400))
    assert warnings.filters == before


def test_a_file_may_have_ten_mebibytes():
    with pytest.raises(TooLargeError, match=r"at most 10,485,760 bytes, got 10,485,761"):
        images.decode(bytes(images.MAX_IMAGE_BYTES + 1), 28)


@pytest.mark.parametrize("pixels", [GREY, GREY[None].astype(float), np.zeros((1, 0, 5), np.uint8)])
def test_arrays_of_another_kind_are_refused(pixels: np.ndarray):
    with pytest.raises(ImageError, match="expected uint8"):
        images.fit(pixels, 28)


def test_a_grid_goes_row_by_row_and_ends_in_black():
    pixels = np.arange(1, 6, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    assert images.grid(pixels, 3)[::2, ::2].tolist() == [[1, 2, 3], [4, 5, 0]]


def test_heat_grows_from_black_to_white():
    heat = images.colour_heat(np.linspace(0, 1, 11, dtype=np.float32)[None])[0].sum(axis=1)
    assert (heat[0], heat[-1]) == (0, 3 * 255)
    assert np.all(np.diff(heat.astype(int)) > 0)
