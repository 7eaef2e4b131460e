"""Damaged and foreign images, in the spirit of MNIST-C (Mu and Gilmer, arXiv:1906.02337), from harmless to hopeless.

A harmless change should raise few alarms; a foreign image must raise one. All functions take uint8 pixels [N, S, S], a
severity and a random generator.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from service.images import Pixels
from service.published.detector import Detector

Meaning = Literal["harmless", "anomalous"]
Make = Callable[[Pixels, float, np.random.Generator], Pixels]
GLYPH_LEVEL = 64  # brighter pixels belong to the glyph
HARMLESS_ALARMS, FOREIGN_ALARMS = 0.15, 0.95  # good enough: fewer than this at alpha 0.05; at least this at 0.01
LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZabdefghkmnpqrtuvwxy"  # without letters that look like digits
FONTS = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSans-Oblique.ttf")


@dataclass(frozen=True)
class Corruption:
    """How images are corrupted, in which severities, and how a detector should judge them."""

    make: Make
    severities: tuple[float, ...]
    meaning: Meaning


@dataclass(frozen=True)
class Alarms:
    """The share of images to which `model` gives a p-value of at most 0.01 and 0.05."""

    model: str
    corruption: str
    severity: float
    meaning: Meaning
    images: int
    at_01: float
    at_05: float


def measure(detector: Detector, normal: Pixels, foreign: Pixels, seed: int = 0) -> Iterator[Alarms]:
    """Yield how often `detector` raises an alarm on its `normal` images [N, S, S] after each corruption, and on `foreign`."""
    for name, corruption in CORRUPTIONS.items():
        for severity in corruption.severities:
            made = corruption.make(normal, severity, np.random.default_rng(seed))
            yield _alarms(detector, made, name, severity, corruption.meaning)
    yield _alarms(detector, foreign, "of another data set", 1, "anomalous")


def _alarms(detector: Detector, pixels: Pixels, name: str, severity: float, meaning: Meaning) -> Alarms:
    p_values = detector.score(pixels).p_value
    at_01, at_05 = (float(np.mean(p_values <= alpha)) for alpha in (0.01, 0.05))
    return Alarms(detector.name, name, severity, meaning, len(pixels), at_01, at_05)


def table(alarms: Sequence[Alarms]) -> str:
    """Return Markdown: a row for each corruption, with alarms at 0.05 if it is harmless and at 0.01 if it is not.

    Beside the mean over the models stand the worst model and the number of models that are good enough.
    """
    head = "| corruption | severity | should be | alarms at | mean | worst | model | good enough |"
    keys = dict.fromkeys((one.corruption, one.severity) for one in alarms)
    lines = [_line([one for one in alarms if (one.corruption, one.severity) == key]) for key in keys]
    return "\n".join([head, "|---" * 8 + "|", *lines]) + "\n"


def _line(alarms: Sequence[Alarms]) -> str:
    first, harmless = alarms[0], alarms[0].meaning == "harmless"
    rates = [one.at_05 if harmless else one.at_01 for one in alarms]
    worst = int(np.argmax(rates) if harmless else np.argmin(rates))
    good = sum(rate < HARMLESS_ALARMS if harmless else rate >= FOREIGN_ALARMS for rate in rates)
    return (
        f"| {first.corruption} | {first.severity:g} | {first.meaning} | {0.05 if harmless else 0.01} | {np.mean(rates):.3f} "
        f"| {rates[worst]:.3f} | {alarms[worst].model} | {good}/{len(alarms)} |"
    )


def share_of_heat(detector: Detector, normal: Pixels, damage: str, radius: int = 6, seed: int = 0) -> float:
    """Return the share of the hottest 5 % of heat-map pixels that lie inside a damaged disc, the mean over `normal`.

    The disc of `radius` pixels lies on the glyph; `damage` is one of DAMAGES.
    """
    rng = np.random.default_rng(seed)
    inside = _discs(normal, radius, rng)
    damaged = normal.copy()
    damaged[inside] = DAMAGES[damage](damaged[inside], 1, rng)
    heat = detector.explain(damaged).reshape(len(normal), -1)
    hottest = np.argsort(-heat, axis=1)[:, : heat.shape[1] // 20]
    return float(np.take_along_axis(inside.reshape(len(normal), -1), hottest, axis=1).mean())


def _discs(pixels: Pixels, radius: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    rows, columns = np.indices(pixels.shape[1:])
    weights = pixels.reshape(len(pixels), -1) / pixels.sum(axis=(1, 2), dtype=np.float64)[:, None]
    centres = np.array([divmod(rng.choice(weights.shape[1], p=weight), pixels.shape[2]) for weight in weights])
    y, x = centres.T[:, :, None, None]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def _shift(pixels: Pixels, distance: float, rng: np.random.Generator) -> Pixels:
    angles = rng.choice(4, len(pixels)) * (np.pi / 2)
    moves = np.rint(distance * np.stack([np.sin(angles), np.cos(angles)], axis=1))
    moved = [ndimage.shift(image, move, order=0) for image, move in zip(pixels, moves, strict=True)]
    return np.stack(moved)


def _rotate(pixels: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    signs = rng.choice([-1, 1], len(pixels))
    turned = [
        ndimage.rotate(image, degrees * sign, reshape=False, order=1) for image, sign in zip(pixels, signs, strict=True)
    ]
    return np.stack(turned)


def _thicken(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    """Mix in a 3 x 3 dilation, or for negative amounts an erosion."""
    change = ndimage.grey_dilation if amount > 0 else ndimage.grey_erosion
    return _to_pixels((1 - abs(amount)) * pixels + abs(amount) * change(pixels, size=(1, 3, 3)))


def _brightness(pixels: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    return _to_pixels(pixels * factor)


def _blur(pixels: Pixels, sigma: float, _: np.random.Generator) -> Pixels:
    return _to_pixels(ndimage.gaussian_filter(pixels.astype(np.float64), (0, sigma, sigma)))


def _add_noise(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    return _to_pixels(pixels + 255 * deviation * rng.standard_normal(pixels.shape))


def _blank(pixels: Pixels, level: float, _: np.random.Generator) -> Pixels:
    return np.full_like(pixels, round(255 * level))


def _invert(pixels: Pixels, _: float, __: np.random.Generator) -> Pixels:
    return np.bitwise_not(pixels)


def _noise(pixels: Pixels, _: float, rng: np.random.Generator) -> Pixels:
    return rng.integers(0, 256, pixels.shape, np.uint8)


def _erase_half_on(*sides: int) -> Make:
    """Return a corruption that erases half of the glyph, on one of `sides`: 0 upper, 1 right, 2 lower, 3 left."""
    return lambda pixels, _, rng: np.stack(
        [_erase_half(image, side) for image, side in zip(pixels, rng.choice(sides, len(pixels)), strict=True)]
    )


def _erase_half(image: Pixels, side: int) -> Pixels:
    turned = np.rot90(image, side).copy()
    rows = np.flatnonzero(turned.max(axis=1) > GLYPH_LEVEL)
    middle = (rows[0] + rows[-1] + 1) // 2 if len(rows) else 0
    turned[:middle] = 0
    return np.rot90(turned, -side)


def _letters(pixels: Pixels, _: float, rng: np.random.Generator) -> Pixels:
    return np.stack(
        [_draw_letter(str(letter), pixels.shape[1], rng) for letter in rng.choice(list(LETTERS), len(pixels))]
    )


def _draw_letter(letter: str, size: int, rng: np.random.Generator) -> Pixels:
    from matplotlib import get_data_path

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{rng.choice(FONTS)}", int(size * rng.uniform(0.7, 0.85)))
    canvas = Image.new("L", (size, size))
    ImageDraw.Draw(canvas).text((size / 2, size / 2), letter, fill=255, font=font, anchor="mm")
    return np.asarray(canvas.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR), np.uint8)


def _to_pixels(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


DAMAGES: dict[str, Make] = {
    "erase": lambda pixels, _, __: np.zeros_like(pixels),
    "fill": lambda pixels, _, __: np.full_like(pixels, 255),
    "noise": _noise,
}
CORRUPTIONS: dict[str, Corruption] = {
    "shift, px": Corruption(_shift, (0, 1), "harmless"),
    "rotation, degrees": Corruption(_rotate, (5, 10), "harmless"),
    "thickness": Corruption(_thicken, (-0.3, 0.3), "harmless"),
    "brightness": Corruption(_brightness, (0.6, 0.8, 1.2), "harmless"),
    "blur, px": Corruption(_blur, (0.5,), "harmless"),
    "noise added": Corruption(_add_noise, (0.3,), "anomalous"),
    "blank": Corruption(_blank, (0.0,), "anomalous"),
    "full": Corruption(_blank, (1.0,), "anomalous"),
    "inverted": Corruption(_invert, (1,), "anomalous"),
    "noise": Corruption(_noise, (1,), "anomalous"),
    "upper or lower half erased": Corruption(_erase_half_on(0, 2), (0.5,), "anomalous"),
    "left or right half erased": Corruption(_erase_half_on(1, 3), (0.5,), "anomalous"),
    "shifted out, px": Corruption(_shift, (8, 16), "anomalous"),
    "letters": Corruption(_letters, (1,), "anomalous"),
}
