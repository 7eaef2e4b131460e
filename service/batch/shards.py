"""A folder of Parquet files as output. Each file appears when it is complete, and a run that was killed is taken up again.

The rows depend on the images and on the job alone, so a folder ends byte for byte as if nothing had happened.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from service.atomic import replacing
from service.batch import sinks
from service.batch.files import DAMAGED
from service.batch.score import rejection_threshold, row_text
from service.batch.sources import Item
from service.batch.tally import Tally
from service.errors import SourceError
from service.published.detector import Detector, Row
from service.published.group import Group

SHARD_ROWS = 65_536
JOB = "job.json"

Score = Callable[[Iterable[Item]], Iterable[Row]]


@dataclass(frozen=True)
class Job:
    """What decides the rows in a folder, which is taken up again only for the same job.

    `models` is what `fingerprints` returns, `fdr` the rate to control, if any, and `how` the other options that change rows.
    Images are taken for unchanged if their ids are.
    """

    sources: Sequence[Path]
    models: dict[str, str]
    shard_rows: int
    fdr: float | None
    how: dict[str, Any]


def fingerprints(detector: Detector | Group) -> dict[str, str]:
    """Return the sha256 of the manifest of `detector`, or of each detector of a group, by name."""
    members = [detector] if isinstance(detector, Detector) else detector.detectors
    return {each.name: hashlib.sha256(each.manifest.model_dump_json().encode()).hexdigest() for each in members}


def is_folder(out: Path) -> bool:
    """Return whether `out` names a folder to write into: one that exists, or a new name without a suffix."""
    return out.is_dir() or not (out.exists() or out.suffix)


def write(folder: Path, job: Job, items: Iterator[Item], score: Score, tally: Tally) -> None:
    """Score `items` into files of `job.shard_rows` rows in `folder`, pass over those that are complete, and `tally` all rows.

    SourceError if `folder` holds another job, other files or files of other images, if it cannot be written, or if no image
    can be read.
    """
    _prepare(folder, job)
    paths: list[Path] = []
    while first := next(items, None):
        path = _path(folder, len(paths))
        part = chain([first], islice(items, job.shard_rows - 1))
        if not path.exists():
            sinks.write(score(part), path, "parquet")
        elif _read(path)["id"].to_pylist() != [row_text(item.id) for item in part]:
            raise _of_other_images(path)
        paths.append(path)
    if _path(folder, len(paths)).exists():
        raise _of_other_images(_path(folder, len(paths)))
    if job.fdr is not None:
        _control_fdr(paths, job.fdr)
    _count(paths, tally)


def _prepare(folder: Path, job: Job) -> None:
    """Make `folder` and write `job` into it. SourceError if it cannot be made, or holds another job or other files."""
    wanted = {
        "sources": [path.as_posix() for path in job.sources],
        "models": job.models,
        "shard_rows": job.shard_rows,
        "fdr": job.fdr,
        **job.how,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / JOB).exists():
            _check_job(folder, wanted)
        elif any(not path.name.startswith(".") for path in folder.iterdir()):
            raise SourceError(f"{folder}: expected a new folder, or one with {JOB}, got other files; choose another")
        else:
            with replacing(folder / JOB) as path:
                path.write_text(json.dumps(wanted, indent=2) + "\n")
    except OSError as error:
        raise SourceError(f"{folder}: cannot be written: {error.strerror or error}; choose another folder") from None


def _check_job(folder: Path, wanted: dict[str, Any]) -> None:
    try:
        found = json.loads((folder / JOB).read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SourceError(f"{folder / JOB}: expected a job of oddglyph, got another file; choose a new folder")
    other = next((name for name in wanted if found.get(name) != wanted[name]), None)
    if other:
        raise SourceError(
            f"{folder}: expected the job that was begun there, with {other} {found.get(other)}, got {wanted[other]}; "
            "choose a new folder"
        )


def _path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06}.parquet"


def _read(path: Path) -> pa.Table:
    try:
        return parquet.read_table(path, schema=sinks.SCHEMA)
    except DAMAGED as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{path}: cannot be read: {reason}; remove it, and run the command again") from None


def _of_other_images(path: Path) -> SourceError:
    return SourceError(f"{path}: was made of other images than the sources hold now; choose a new folder")


def _control_fdr(paths: Sequence[Path], alpha: float) -> None:
    """Set `is_anomaly` in the files `paths` as `score.control_fdr` does. A second time it changes nothing."""
    p_values = [_read(path)["p_value"].drop_null().to_numpy() for path in paths]
    threshold = rejection_threshold(np.concatenate([np.empty(0), *p_values]), alpha)
    for path in paths:
        table = _read(path)
        column = table.column_names.index("is_anomaly")
        rejected = compute.less_equal(table["p_value"], threshold)
        sinks.write_table(table.set_column(column, sinks.SCHEMA.field(column), rejected), path)


def _count(paths: Sequence[Path], tally: Tally) -> None:
    for path in paths:
        table = _read(path)
        unreadable, read = (table.filter(keep(table["error"])) for keep in (compute.is_valid, compute.is_null))
        tally.images += len(table)
        tally.anomalies += compute.sum(read["is_anomaly"]).as_py() or 0
        tally.errors += len(unreadable)
        if len(unreadable) and not tally.first_error:
            tally.first_error = f"{unreadable['id'][0]}: {unreadable['error'][0]}"
        if tally.monitor:
            tally.monitor.update(read["p_value"].to_numpy(), read["score"].to_numpy())
    tally.check()
