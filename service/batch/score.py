"""Batch scoring: items of sources -> decoded images -> scores -> rows, in order, one batch in memory at a time."""

import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from service.batch.sources import Item
from service.errors import OddglyphError, SourceError
from service.images import Pixels
from service.published.detector import Detector, Scores
from service.published.group import Group

DEFAULT_BATCH_SIZE = 64


@dataclass(frozen=True)
class Row:
    """What is known of one image: its scores, or else `error`; what is not known is None."""

    id: str
    l_con: float | None = None
    latent: float | None = None
    density: float | None = None
    score: float | None = None
    p_value: float | None = None
    is_anomaly: bool | None = None
    closest: str | None = None
    error: str | None = None


@dataclass
class Tally:
    """Counts of the rows that have passed."""

    images: int = 0
    anomalies: int = 0
    errors: int = 0

    def count(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield `rows` unchanged; SourceError with the first reason if, in the end, not one image could be read."""
        first = None
        for row in rows:
            self.images += 1
            self.anomalies += bool(row.is_anomaly)
            self.errors += row.error is not None
            first = first or row
            yield row
        if first and self.errors == self.images:
            raise SourceError(f"images: expected some that can be read, got none; the first, {first.id}: {first.error}")


def score_items(
    items: Iterable[Item],
    detector: Detector | Group,
    alpha: float,
    *,
    invert: bool = False,
    batch_size: int = DEFAULT_BATCH_SIZE,
) -> Iterator[Row]:
    """Yield one row per item, in order; takes `batch_size` items at a time and decodes those in parallel."""
    pending = iter(items)
    with ThreadPoolExecutor() as pool:
        while batch := list(islice(pending, batch_size)):
            decoded = list(pool.map(partial(_decode, size=detector.image_size, invert=invert), batch))
            yield from _rows(batch, decoded, detector, alpha)


def control_fdr(rows: Iterable[Row], alpha: float) -> Iterator[Row]:
    """Yield `rows`, anomalous being those that Benjamini and Hochberg's procedure rejects at level `alpha`.

    Which those are is known after the last row: rows wait in a temporary file, p-values (8 bytes each) in memory. Of
    the images called anomalous at most a fraction `alpha` is normal, in expectation; that holds for conformal p-values
    although they share one calibration set (Bates et al., arXiv:2104.08279).
    """
    p_values = array("d")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as waiting:
        for row in rows:
            p_values.extend([] if row.p_value is None else [row.p_value])
            waiting.write(json.dumps(astuple(row)) + "\n")
        threshold = rejection_threshold(np.asarray(p_values), alpha)
        waiting.seek(0)
        for line in waiting:
            row = Row(*json.loads(line))
            yield row if row.p_value is None else replace(row, is_anomaly=row.p_value <= threshold)


def rejection_threshold(p_values: NDArray[np.float64], alpha: float) -> float:
    """Return the largest of `p_values` [N] that is rejected at level `alpha`, 0.0 if none is.

    Benjamini and Hochberg (1995): the largest p_(k) with p_(k) <= alpha * k / N, where p_(1) <= ... <= p_(N).
    """
    ordered = np.sort(p_values)
    rejected = ordered[ordered * (len(ordered) / np.arange(1, len(ordered) + 1)) <= alpha]
    return float(np.max(rejected, initial=0.0))


def _decode(item: Item, size: int, *, invert: bool) -> Pixels | OddglyphError:
    try:
        return item.pixels(size, invert=invert)
    except OddglyphError as error:
        return error


def _rows(
    batch: Sequence[Item], decoded: Sequence[Pixels | OddglyphError], detector: Detector | Group, alpha: float
) -> Iterator[Row]:
    size = detector.image_size
    readable = [image for image in decoded if isinstance(image, np.ndarray)]
    scores = detector.score(np.array(readable, np.uint8).reshape(-1, size, size))
    columns = scores.l_con, scores.latent, scores.density, scores.score, scores.p_value, scores.is_anomaly(alpha)
    figures = zip(*columns, _closest(scores, detector), strict=True)
    for item, image in zip(batch, decoded, strict=True):
        if isinstance(image, OddglyphError):
            yield Row(_printable(item.id), error=_printable(str(image)))
        else:
            l_con, latent, density, combined, p_value, is_anomaly, closest = next(figures)
            parts = _short(l_con), _short(latent), _short(density), _short(combined)
            yield Row(_printable(item.id), *parts, float(p_value), bool(is_anomaly), closest)


def _closest(scores: Scores, detector: Detector | Group) -> list[str | None]:
    if isinstance(detector, Group):
        return [detector.class_names[index] for index in scores.closest]
    return [None] * len(scores.closest)


def _short(value: np.float32) -> float:
    """Return the float that prints with the fewest digits among those that round to `value`."""
    return float(str(value))


def _printable(text: str) -> str:
    """Return `text` with what is not UTF-8 in file names as escapes, since no output format could hold it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
