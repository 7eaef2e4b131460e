"""Batch scoring: items of sources -> decoded images -> scores -> rows, in order, with one batch in memory at a time."""

import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.batch.sources import Item
from service.errors import OddglyphError, SourceError
from service.images import DECODE_THREADS, Pixels
from service.published.conformal import Decision, Rule
from service.published.detector import Detector, Row
from service.published.group import Group

BATCH_SIZE = 64  # images decoded and scored together
BATCH_BYTES = 32 * 2**20  # of files, above which a batch takes no further image


def score_items(
    items: Iterable[Item],
    detector: Detector | Group,
    decision: Decision,
    *,
    invert: bool = False,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Row]:
    """Yield one row per item, in order. At most `batch_size` items are taken at a time, and a few decoded in parallel.

    A batch ends early at BATCH_BYTES. `decision` says which p-values are anomalies. `invert` says that the images show
    dark glyphs on light.
    """
    with ThreadPoolExecutor(DECODE_THREADS) as pool:
        for batch in _batches(items, batch_size):
            decoded = list(pool.map(partial(_decode, size=detector.image_size, invert=invert), batch))
            yield from _rows(batch, decoded, detector, decision)


def control_fdr(rows: Iterable[Row], alpha: float) -> Iterator[Row]:
    """Yield `rows` with the anomalies that the procedure of Benjamini and Hochberg rejects at level `alpha`.

    At most a fraction `alpha` of these anomalies is normal, in expectation. That holds for conformal p-values although
    they share one calibration set (Bates et al., arXiv:2104.08279). The threshold is known after the last row only, so
    rows wait in a temporary file and p-values (8 bytes each) in memory.
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


def check_plain(rule: Rule, option: str, *, wanted: bool) -> None:
    """Raise SourceError if `option`, which is proven for plain p-values only, is wanted of p-values by another `rule`."""
    if wanted and (rule.strict or rule.confidence is not None):
        raise SourceError(
            f"{option}: expected plain p-values, for which it is proven; leave out --strict and --confidence"
        )


def in_words(rule: Rule, decision: Decision, *, fdr: bool) -> str:
    """Return what makes an image an anomaly, for a summary."""
    if decision.note:
        return f"none is possible at alpha {rule.alpha:g}, see the note"
    if fdr:
        return f"false discovery rate {rule.alpha:g}"
    if rule.confidence is not None:
        return f"p-value at most {decision.threshold:.4g}, for alpha {rule.alpha:g} with confidence {rule.confidence:g}"
    return f"{'strict ' if rule.strict else ''}p-value at most {rule.alpha:g}"


def rejection_threshold(p_values: NDArray[np.float64], alpha: float) -> float:
    """Return the largest of `p_values` [N] that is rejected at level `alpha`, or 0.0 if none is rejected.

    Benjamini and Hochberg (1995): the largest p_(k) with p_(k) <= alpha * k / N, where p_(1) <= ... <= p_(N).
    """
    ordered = np.sort(p_values)
    rejected = ordered[ordered * (len(ordered) / np.arange(1, len(ordered) + 1)) <= alpha]
    return float(np.max(rejected, initial=0.0))


def _batches(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    held_bytes = 0
    for item in items:
        batch.append(item)
        held_bytes += item.size_bytes
        if len(batch) == batch_size or held_bytes >= BATCH_BYTES:
            yield batch
            batch, held_bytes = [], 0
    if batch:
        yield batch


def _decode(item: Item, size: int, *, invert: bool) -> Pixels | OddglyphError:
    try:
        return item.pixels(size, invert=invert)
    except OddglyphError as error:
        return error.bare()


def _rows(
    batch: Sequence[Item], decoded: Sequence[Pixels | OddglyphError], detector: Detector | Group, decision: Decision
) -> Iterator[Row]:
    size, ids = detector.image_size, [row_text(item.id) for item in batch]
    readable = {
        name: image for name, image in zip(range(len(ids)), decoded, strict=True) if isinstance(image, np.ndarray)
    }
    scores = detector.score(np.array(list(readable.values()), np.uint8).reshape(-1, size, size))
    scored = iter(scores.rows((ids[index] for index in readable), decision))
    for name, image in zip(ids, decoded, strict=True):
        yield Row(name, error=row_text(str(image))) if isinstance(image, OddglyphError) else next(scored)


def row_text(text: str) -> str:
    """Return `text` with escapes for bytes of file names that are not UTF-8, which no output format can hold."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
